//! Debits over HTTP beside pgbench's plain one-transaction debit, on the same Postgres, interleaved in one run.
//!
//! `cargo bench --bench ledger` prints ratios against pgbench's best rate (P1, P2), and the latency of one connection against
//! that of a bare axum route which does the usual transaction per request (P3); absolute figures drift with the machine. Options
//! by environment: `BENCH_ACCOUNTS` (100000), `BENCH_SECONDS` per measurement (4), `BENCH_ROUNDS` (3), `BENCH_CONNECTIONS`
//! (1,8,32,64,128), `BENCH_KEYS` (0; 1 sends an idempotency key with every debit), `COMBINER_SHARDS` as the server reads it,
//! `BENCH_MINUTES` (0) of mixed load at the end, after which resident memory is told once more (P6 asks for 60; each minute of it
//! needs some 150 MB of disk).
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement, not the product"
)]

mod support;

use igny8::embedded::PrivatePostgres;
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{
    Client, Database, Run, Server,
    bare::{self, Bare},
    is_measurement, keep_busy, option, seed, token,
};

fn connection_counts() -> Vec<usize> {
    let named = std::env::var("BENCH_CONNECTIONS").unwrap_or_else(|_| "1,8,32,64,128".to_owned());
    named.split(',').map(|count| count.trim().parse().expect("BENCH_CONNECTIONS: numbers with commas between")).collect()
}

#[tokio::main]
async fn main() {
    if bare::is_asked_for() {
        return bare::serve().await;
    }
    let (accounts, seconds, rounds) = if is_measurement() {
        (option("BENCH_ACCOUNTS", 100_000), option("BENCH_SECONDS", 4), option("BENCH_ROUNDS", 3))
    } else {
        (100, 1, 1)
    };
    let sent = if option("BENCH_KEYS", 0) == 0 { Sent::Debits } else { Sent::KeyedDebits };
    let database = Database::start().await;
    let postgres = &database.postgres;
    seed(postgres, 2 * accounts as i64).await;
    let server = Server::start(postgres, &database.dir).await;
    let tokens = Arc::new((1..=accounts as i64).map(token).collect::<Vec<_>>());
    // For the bare route, as for pgbench: see there.
    let others = Arc::new((1..=accounts as i64).map(|account| token(accounts as i64 + account)).collect::<Vec<_>>());
    let bare = Bare::start(&postgres.url("bench"));
    let period = Duration::from_secs(seconds);
    println!("{accounts} accounts, {rounds} interleaved rounds of {seconds} s each; fsync on");
    // The first debit of a session asks the gate by a query of its own; an hour of others follows it.
    let first = warm_up(server.port, &tokens).await;
    println!("first debit of each session, 64 connections: {first:.0}/s\n");
    for (shape, hot) in [("uniform", false), ("one hot account", true)] {
        let pgbench_clients: &[u32] = if hot { &[1, 8] } else { &[8, 32] };
        let http_connections = if is_measurement() { connection_counts() } else { vec![8] };
        let (mut best, mut plain) = (0.0_f64, Vec::new());
        let mut served: Vec<(usize, Vec<Run>)> = http_connections.iter().map(|connections| (*connections, Vec::new())).collect();
        for _ in 0..rounds {
            for clients in pgbench_clients {
                let range = (accounts + 1, if hot { 1 } else { accounts });
                best = best.max(pgbench(postgres, *clients, seconds, ONE_CALL, range));
            }
            plain.push(load(bare.port, &others, 1, (hot, Sent::Plain), period).await);
            for (connections, runs) in &mut served {
                runs.push(load(server.port, &tokens, *connections, (hot, sent), period).await);
            }
        }
        println!("{shape}: pgbench's best, one transaction per debit: {best:.0}/s (= 1)");
        let plain = mean(&plain, 0.5);
        println!("  a bare axum route, one plain transaction per request, 1 connection: p50 {plain:.2} ms (= 1)");
        println!("  connections   debits/s   ratio   p50 ms   p99 ms   p50 ratio");
        for (connections, runs) in &served {
            let rate = runs.iter().map(|run| run.per_second).sum::<f64>() / runs.len() as f64;
            let (p50, p99) = (mean(runs, 0.5), mean(runs, 0.99));
            print!("  {connections:>11}   {rate:>8.0}   {:>5.2}   {p50:>6.2}   {p99:>6.2}", rate / best);
            // P3 is of one connection only.
            println!("{}", if *connections == 1 { format!("   {:>9.2}", p50 / plain) } else { String::new() });
        }
        println!();
    }
    println!("holds: {:.0} place + capture pairs per second, 64 connections\n", hold_pairs(server.port, &tokens, period).await);
    println!("resident: {} MB", server.resident_mb());
    for minute in 1..=if is_measurement() { option("BENCH_MINUTES", 0) } else { 0 } {
        mixed(server.port, &tokens, Duration::from_mins(1)).await;
        println!("resident after {minute} minutes of mixed load: {} MB", server.resident_mb());
    }
    println!("igny8 verify: {}", server.verify(postgres, &database.dir));
    drop((server, bare));
    database.end();
}

/// One server function per debit: the limit of one transaction per debit.
const ONE_CALL: &str = "select bench_debit(:id);";
/// What a connection sends.
#[derive(Clone, Copy)]
enum Sent {
    Debits,
    /// With a key that no other has.
    KeyedDebits,
    /// To the bare route.
    Plain,
}

fn mean(runs: &[Run], share: f64) -> f64 {
    runs.iter().map(|run| run.percentile(share)).sum::<f64>() / runs.len() as f64
}

/// `first` is the number of the first of the accounts that are debited: they are others than the server's, because two writers
/// who don't know of each other would slow the server's guesses down, as two instances do.
fn pgbench(postgres: &PrivatePostgres, clients: u32, seconds: u64, script: &str, (first, accounts): (u64, u64)) -> f64 {
    let file = std::env::temp_dir().join(format!("igny8-debit-{}.sql", std::process::id()));
    std::fs::write(&file, format!("\\set id random({}, {})\n{script}\n", first, first + accounts - 1)).unwrap();
    let threads = clients.min(2).to_string();
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-j", &threads, "-T", &seconds.to_string(), "-U", "app", "-h"])
        .arg(postgres.socket_dir())
        .arg("-f")
        .arg(&file)
        .arg("bench")
        .output()
        .expect("pgbench comes with PostgreSQL's server or contrib package");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split_whitespace().next());
    rate.and_then(|rate| rate.parse().ok()).unwrap_or_else(|| panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// One debit by each session; gives their rate.
async fn warm_up(port: u16, tokens: &Arc<Vec<String>>) -> f64 {
    let began = Instant::now();
    let workers = (0..64_usize).map(|worker| {
        let tokens = Arc::clone(tokens);
        tokio::spawn(async move {
            let mut client = Client::connect(port).await;
            for token in tokens.iter().skip(worker).step_by(64) {
                client.debit(token).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.unwrap();
    }
    tokens.len() as f64 / began.elapsed().as_secs_f64()
}

/// Places holds and captures them over 64 connections for a while; gives the rate of both together.
async fn hold_pairs(port: u16, tokens: &Arc<Vec<String>>, period: Duration) -> f64 {
    let began = Instant::now();
    let workers = (0..64_usize).map(|worker| {
        let tokens = Arc::clone(tokens);
        tokio::spawn(async move {
            let mut client = Client::connect(port).await;
            let mut pairs = 0_u32;
            for token in tokens.iter().cycle().skip(worker).step_by(64) {
                if began.elapsed() >= period {
                    break;
                }
                client.hold_and_capture(token).await;
                pairs += 1;
            }
            pairs
        })
    });
    let mut pairs = 0;
    for worker in workers.collect::<Vec<_>>() {
        pairs += worker.await.unwrap();
    }
    f64::from(pairs) / began.elapsed().as_secs_f64()
}

/// What a day has: of each account in turn who he is, his balance and his ledger's first page, a debit, and a hold with its
/// capture.
async fn mixed(port: u16, tokens: &Arc<Vec<String>>, period: Duration) {
    let tokens = Arc::clone(tokens);
    keep_busy(port, 64, period, move |mut client, place| {
        let tokens = Arc::clone(&tokens);
        async move {
            let token = &tokens[place % tokens.len()];
            match place / tokens.len() % 8 {
                0 => client.debit(token).await,
                1 => client.hold_and_capture(token).await,
                2 => client.get("/api/v1/billing/credits/balance/", token).await,
                3 => client.get("/api/v1/billing/credits/transactions/", token).await,
                _ => client.get("/api/v1/auth/me/", token).await,
            }
            client
        }
    })
    .await;
}

/// Sends debits over so many kept-alive connections for a while, each connection one after the other.
async fn load(port: u16, tokens: &Arc<Vec<String>>, connections: usize, (hot, sent): (bool, Sent), period: Duration) -> Run {
    static KEYS: AtomicU64 = AtomicU64::new(0);
    let tokens = Arc::clone(tokens);
    keep_busy(port, connections, period, move |mut client, place| {
        let tokens = Arc::clone(&tokens);
        async move {
            let token = &tokens[if hot { 0 } else { place % tokens.len() }];
            match sent {
                Sent::Debits => client.debit(token).await,
                Sent::KeyedDebits => client.debit_once(token, KEYS.fetch_add(1, Ordering::Relaxed)).await,
                Sent::Plain => client.plain(token).await,
            }
            client
        }
    })
    .await
}
