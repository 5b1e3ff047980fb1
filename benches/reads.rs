//! What reads cost: `GET auth/me/` beside a bare axum route that verifies the same token and reads one row (P4); debits and
//! lists on a short and on a long ledger (P5); start to ready (P7). Each ratio comes from one interleaved run.
//!
//! `cargo bench --bench reads`. Options by environment: `BENCH_SECONDS` per measurement (3), `BENCH_ROUNDS` (3),
//! `BENCH_ROWS` ledger rows, short and long (1000000,4000000; P5's own sizes are 1000000,20000000).
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement, not the product"
)]

mod support;

use igny8::credits::seals::service::seal_due;
use sqlx::{Connection as _, PgConnection};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use support::{
    Database, Run, Server,
    bare::{self, Bare},
    is_measurement, keep_busy, option, seed, token,
};

const ACCOUNTS: usize = 10_000;
const CONNECTIONS: usize = 32;

#[tokio::main]
async fn main() {
    if bare::is_asked_for() {
        return bare::serve().await;
    }
    let (accounts, seconds, rounds) =
        if is_measurement() { (ACCOUNTS, option("BENCH_SECONDS", 3), option("BENCH_ROUNDS", 3)) } else { (50, 1, 1) };
    let sizes = if is_measurement() { row_counts() } else { vec![500, 1_000] };
    let database = Database::start().await;
    seed(&database.postgres, accounts as i64).await;
    let began = Instant::now();
    let server = Server::start(&database.postgres, &database.dir).await;
    println!("P7  start to ready, database migrated: {} ms\n", began.elapsed().as_millis());
    let tokens = Arc::new((1..=accounts as i64).map(token).collect::<Vec<_>>());
    let period = Duration::from_secs(seconds);

    let beside = Bare::start(&database.postgres.url("bench"));
    let (mut me, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(reading(beside.port, &tokens, "/", period).await);
        me.push(reading(server.port, &tokens, "/api/v1/auth/me/", period).await);
    }
    drop(beside);
    let (bare, me) = (rate(&bare), rate(&me));
    println!("P4  GET auth/me/ {me:.0}/s; a bare route that verifies the token and reads one row {bare:.0}/s; ratio {:.2}\n", me / bare);

    println!("P5  ledger rows   debits/s   first page p50 ms   last page p50 ms");
    let mut figures = Vec::new();
    for rows in sizes {
        grow(&database, accounts, rows).await;
        let one_each = Arc::clone(&tokens);
        // Whoever debits for the first time asks the gate by a query of its own; both sizes begin with everybody known.
        warm(server.port, &one_each).await;
        let debits = debiting(server.port, &tokens, period).await;
        let first = reading(server.port, &tokens, "/api/v1/billing/credits/transactions/", period).await;
        let last = reading(server.port, &tokens, "/api/v1/billing/credits/transactions/?cursor=YTIy", period).await;
        println!("    {rows:>11}   {:>8.0}   {:>17.2}   {:>16.2}", debits.per_second, first.percentile(0.5), last.percentile(0.5));
        figures.push((debits.per_second, first.percentile(0.5), last.percentile(0.5)));
    }
    if let [short, .., long] = figures[..] {
        println!(
            "    long to short: debits {:.2}, first page {:.2}, last page {:.2}\n",
            long.0 / short.0,
            short.1 / long.1,
            short.2 / long.2
        );
    }
    println!("P6  resident after all this: {} MB", server.resident_mb());
    let began = Instant::now();
    let told = server.verify(&database.postgres, &database.dir);
    println!("igny8 verify on the long ledger: {} s, {told}", began.elapsed().as_secs());
    drop(server);
    database.end();
}

fn row_counts() -> Vec<usize> {
    let named = std::env::var("BENCH_ROWS").unwrap_or_else(|_| "1000000,4000000".to_owned());
    named.split(',').map(|count| count.trim().parse().expect("BENCH_ROWS: numbers with commas between")).collect()
}

fn rate(runs: &[Run]) -> f64 {
    runs.iter().map(|run| run.per_second).sum::<f64>() / runs.len() as f64
}

async fn reading(port: u16, tokens: &Arc<Vec<String>>, path: &'static str, period: Duration) -> Run {
    let tokens = Arc::clone(tokens);
    keep_busy(port, CONNECTIONS, period, move |mut client, place| {
        let tokens = Arc::clone(&tokens);
        async move {
            client.get(path, &tokens[place % tokens.len()]).await;
            client
        }
    })
    .await
}

async fn debiting(port: u16, tokens: &Arc<Vec<String>>, period: Duration) -> Run {
    let tokens = Arc::clone(tokens);
    keep_busy(port, 2 * CONNECTIONS, period, move |mut client, place| {
        let tokens = Arc::clone(&tokens);
        async move {
            client.debit(&tokens[place % tokens.len()]).await;
            client
        }
    })
    .await
}

async fn warm(port: u16, tokens: &Arc<Vec<String>>) {
    let workers = (0..CONNECTIONS).map(|worker| {
        let tokens = Arc::clone(tokens);
        tokio::spawn(async move {
            let mut client = support::Client::connect(port).await;
            for token in tokens.iter().skip(worker).step_by(CONNECTIONS) {
                client.debit(token).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
}

/// Adds deductions until the ledger has so many rows, spread over all accounts as a year of use would.
async fn grow(database: &Database, accounts: usize, rows: usize) {
    let mut connection = PgConnection::connect(&database.postgres.url("bench")).await.unwrap();
    let present: i64 = sqlx::query_scalar("select count(*) from credit_transactions").fetch_one(&mut connection).await.unwrap();
    let each = (rows as i64 - present).max(0) / accounts as i64;
    let statements = format!(
        "set session_replication_role = replica;
         insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                                          description, actor, created_at)
           select b.account_id, b.last_seq + n, 'deduction', -1, 0, b.plan_credits - n, 0, 'content_generation', 100, 1, 'content generation', 'user:1', now()
           from generate_series(1, {each}) n cross join credit_balances b;
         update credit_balances set plan_credits = plan_credits - {each}, last_seq = last_seq + {each};
         set session_replication_role = origin;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
    // Or the server would do it beside what is measured: a year's entries were sealed in that year.
    let pool = igny8::db::Pool::from(sqlx::PgPool::connect(&database.postgres.url("bench")).await.unwrap());
    while seal_due(&pool, chrono::Utc::now()).await.unwrap() > 0 {}
    pool.close().await;
    // Or Postgres would do it by itself, beside what is measured.
    for after in ["vacuum analyze", "checkpoint"] {
        sqlx::raw_sql(after).execute(&mut connection).await.unwrap();
    }
}
