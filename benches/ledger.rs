//! Debits over HTTP beside pgbench's plain one-transaction debit, on the same Postgres, interleaved in one run.
//!
//! `cargo bench --bench ledger` prints ratios against pgbench's best rate; absolute figures drift with the machine. Options by
//! environment: `BENCH_ACCOUNTS` (100000), `BENCH_SECONDS` per measurement (4), `BENCH_ROUNDS` (3), `BENCH_CONNECTIONS`
//! (1,8,32,64,128).
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement, not the product"
)]

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use igny8::{
    auth::{
        model::{Holder, Role, TokenType},
        tokens::{Draft, TokenSecrets, Tokens},
    },
    embedded::{Durability, PrivatePostgres, Settings},
    ids::{AccountId, SessionId, UserId},
};
use sqlx::{Connection as _, PgConnection};
use std::{
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use uuid::Uuid;

const SECRET: &str = "the secret of the benchmark, which is long enough";

/// One measurement.
struct Run {
    per_second: f64,
    micros: Vec<u32>,
}

impl Run {
    fn percentile(&self, share: f64) -> f64 {
        let place = ((self.micros.len() as f64 - 1.0) * share) as usize;
        f64::from(self.micros.get(place).copied().unwrap_or(0)) / 1000.0
    }
}

fn option(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn connection_counts() -> Vec<usize> {
    let named = std::env::var("BENCH_CONNECTIONS").unwrap_or_else(|_| "1,8,32,64,128".to_owned());
    named.split(',').map(|count| count.trim().parse().expect("BENCH_CONNECTIONS: numbers with commas between")).collect()
}

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks only whether it runs at all.
    let is_smoke = !std::env::args().any(|argument| argument == "--bench");
    let (accounts, seconds, rounds) =
        if is_smoke { (100, 1, 1) } else { (option("BENCH_ACCOUNTS", 100_000), option("BENCH_SECONDS", 4), option("BENCH_ROUNDS", 3)) };
    let dir = std::env::temp_dir().join(format!("igny8-bench-{}", std::process::id()));
    let settings = Settings { data_dir: dir.clone(), bin_dir: None, durability: Durability::Durable };
    let postgres = tokio::task::spawn_blocking(move || PrivatePostgres::start(&settings).unwrap()).await.unwrap();
    seed(&postgres, accounts as i64).await;
    let server = Server::start(&postgres, &dir).await;
    let tokens = Arc::new((1..=accounts as i64).map(token).collect::<Vec<_>>());
    let period = Duration::from_secs(seconds);
    println!("{accounts} accounts, {rounds} interleaved rounds of {seconds} s each; fsync on");
    // The first debit of a session asks the gate by a query of its own; an hour of others follows it.
    let first = warm_up(server.port, &tokens).await;
    println!("first debit of each session, 64 connections: {first:.0}/s\n");
    for (shape, hot) in [("uniform", false), ("one hot account", true)] {
        let pgbench_clients: &[u32] = if hot { &[1, 8] } else { &[8, 32] };
        let http_connections = if is_smoke { vec![8] } else { connection_counts() };
        let mut best = 0.0_f64;
        let mut served: Vec<(usize, Vec<Run>)> = http_connections.iter().map(|connections| (*connections, Vec::new())).collect();
        for _ in 0..rounds {
            for clients in pgbench_clients {
                best = best.max(pgbench(&postgres, *clients, seconds, (accounts + 1, if hot { 1 } else { accounts })));
            }
            for (connections, runs) in &mut served {
                runs.push(load(server.port, &tokens, *connections, hot, period).await);
            }
        }
        println!("{shape}: pgbench's best, one transaction per debit: {best:.0}/s (= 1)");
        println!("  connections   debits/s   ratio   p50 ms   p99 ms");
        for (connections, runs) in &served {
            let rate = runs.iter().map(|run| run.per_second).sum::<f64>() / runs.len() as f64;
            let (p50, p99) = (mean(runs, 0.5), mean(runs, 0.99));
            println!("  {connections:>11}   {rate:>8.0}   {:>5.2}   {p50:>6.2}   {p99:>6.2}", rate / best);
        }
        println!();
    }
    println!("holds: {:.0} place + capture pairs per second, 64 connections\n", hold_pairs(server.port, &tokens, period).await);
    let verified = server.verify(&postgres, &dir);
    println!("igny8 verify: {verified}");
    drop(server);
    drop(postgres);
    std::fs::remove_dir_all(&dir).ok();
}

fn mean(runs: &[Run], share: f64) -> f64 {
    runs.iter().map(|run| run.percentile(share)).sum::<f64>() / runs.len() as f64
}

fn session(account: i64) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + account as u128)
}

fn token(account: i64) -> String {
    let holder = Holder { user: UserId(account), account: Some(AccountId(account)), role: Role::Owner };
    let now = chrono::Utc::now();
    let draft = Draft {
        holder,
        session: SessionId(session(account)),
        token_type: TokenType::Access,
        token_id: Uuid::from_u128(7),
        expires_at: now + chrono::TimeDelta::hours(5),
    };
    Tokens::new(&TokenSecrets { current: SECRET.into(), previous: Vec::new() }).sign(&draft, now).unwrap()
}

/// Accounts that are whole, so that `verify` has something to say; and the server function that pgbench calls.
async fn seed(postgres: &PrivatePostgres, accounts: i64) {
    let accounts = 2 * accounts;
    let mut server = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    sqlx::raw_sql("create database bench").execute(&mut server).await.unwrap();
    let mut database = PgConnection::connect(&postgres.url("bench")).await.unwrap();
    igny8::db::MIGRATOR.run(&mut database).await.unwrap();
    let statements = format!(
        "set session_replication_role = replica;
         insert into accounts (account_id, name, slug, status, plan_id, created_at, updated_at)
           select n, 'A', 'a-' || n, 'active', (select plan_id from plans where slug = 'scale'), now(), now() from generate_series(1, {accounts}) n;
         insert into users (user_id, account_id, email, username, role, password_hash, created_at, updated_at)
           select n, n, 'u' || n || '@example.com', 'u', 'owner', '!', now(), now() from generate_series(1, {accounts}) n;
         insert into sessions (session_id, user_id, remember_me, created_at, last_refreshed_at, expires_at)
           select ('10000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, n, false, now(), now(), now() + interval '1 day' from generate_series(1, {accounts}) n;
         insert into subscriptions (account_id, plan_id, status, current_period_start, current_period_end, created_at, updated_at)
           select n, (select plan_id from plans where slug = 'scale'), 'active', now(), now() + interval '30 days', now(), now() from generate_series(1, {accounts}) n;
         insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, created_at)
           select account_id, 1, plan_id, 'manual', 0, 1000000000, current_period_start, current_period_end, current_period_end, now() from subscriptions;
         insert into credit_balances (account_id, plan_credits, extra_credits, last_seq) select n, 1000000000, 0, 1 from generate_series(1, {accounts}) n;
         insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, period_seq, actor, created_at)
           select n, 1, 'subscription', 1000000000, 0, 1000000000, 0, 'bench', 1, 'system', now() from generate_series(1, {accounts}) n;
         insert into audit_log (account_id, actor, action, target, at) select n, 'system', 'account.imported', 'account:' || n, now() from generate_series(1, {accounts}) n;
         set session_replication_role = origin;
         create function bench_debit(id bigint) returns bigint language plpgsql as $$
         declare b credit_balances;
         begin
           update credit_balances set plan_credits = plan_credits - 1, last_seq = last_seq + 1 where account_id = id and plan_credits >= 1 returning * into b;
           insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost, description, actor, created_at)
             values (id, b.last_seq, 'deduction', -1, 0, b.plan_credits, b.extra_credits, 'content_generation', 100, 1, 'content generation', 'user:1', now());
           return b.plan_credits;
         end $$;
         analyze; checkpoint;"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut database).await.unwrap();
}

/// `first` is the number of the first of the accounts that are debited: they are others than the server's, because two writers
/// who don't know of each other would slow the server's guesses down, as two instances do.
fn pgbench(postgres: &PrivatePostgres, clients: u32, seconds: u64, (first, accounts): (u64, u64)) -> f64 {
    let script = std::env::temp_dir().join(format!("igny8-debit-{}.sql", std::process::id()));
    std::fs::write(&script, format!("\\set id random({}, {})\nselect bench_debit(:id);\n", first, first + accounts - 1)).unwrap();
    let threads = clients.min(2).to_string();
    let output = Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &clients.to_string(), "-j", &threads, "-T", &seconds.to_string(), "-U", "app", "-h"])
        .arg(postgres.socket_dir())
        .arg("-f")
        .arg(&script)
        .arg("bench")
        .output()
        .expect("pgbench comes with PostgreSQL's server or contrib package");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")).and_then(|rest| rest.split_whitespace().next());
    rate.and_then(|rate| rate.parse().ok()).unwrap_or_else(|| panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// The release binary, in a process of its own.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    async fn start(postgres: &PrivatePostgres, dir: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Self::command(postgres, dir);
        let child = command.arg("serve").env("BIND_ADDR", format!("127.0.0.1:{port}")).stdout(Stdio::null()).spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Server { child, port }
    }

    fn command(postgres: &PrivatePostgres, dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igny8"));
        command
            .env("DATABASE_URL", postgres.url("bench"))
            .env("JWT_SECRET_KEY", SECRET)
            .env("THROTTLE_DISABLED", "true")
            .env("LOG_LEVEL", "warn")
            .env("DATA_DIR", dir);
        command
    }

    fn verify(&self, postgres: &PrivatePostgres, dir: &Path) -> String {
        let output = Self::command(postgres, dir).args(["verify", "--json"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
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

/// Sends debits over so many kept-alive connections for a while, each connection one after the other.
async fn load(port: u16, tokens: &Arc<Vec<String>>, connections: usize, hot: bool, period: Duration) -> Run {
    let began = Instant::now();
    let workers =
        (0..connections).map(|worker| tokio::spawn(work(port, Arc::clone(tokens), worker, hot, began + period))).collect::<Vec<_>>();
    let mut micros = Vec::new();
    for worker in workers {
        micros.extend(worker.await.unwrap());
    }
    let took = began.elapsed().as_secs_f64();
    micros.sort_unstable();
    Run { per_second: micros.len() as f64 / took, micros }
}

async fn work(port: u16, tokens: Arc<Vec<String>>, worker: usize, hot: bool, until: Instant) -> Vec<u32> {
    let mut client = Client::connect(port).await;
    let mut micros = Vec::new();
    // A cheap generator of its own for each worker: the same sequence in each run.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(worker as u64 + 1);
    while Instant::now() < until {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let account = if hot { 0 } else { (state >> 33) as usize % tokens.len() };
        let sent = Instant::now();
        client.debit(&tokens[account]).await;
        micros.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    micros
}

/// One kept-alive connection.
struct Client(http1::SendRequest<Full<Bytes>>);

impl Client {
    async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client(sender)
    }

    async fn debit(&mut self, token: &str) {
        self.post("deduct", token, br#"{"operation":"content_generation","quantity":100}"#).await;
    }

    async fn hold_and_capture(&mut self, token: &str) {
        let placed = self.post("holds", token, br#"{"operation":"content_generation","quantity":100}"#).await;
        let placed: serde_json::Value = serde_json::from_slice(&placed).unwrap();
        self.post(&format!("holds/{}/capture", placed["data"]["hold"]["id"]), token, b"{}").await;
    }

    async fn post(&mut self, route: &str, token: &str, body: &'static [u8]) -> Bytes {
        let request = Request::post(format!("/api/v1/billing/credits/{route}/"))
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::from_static(body)))
            .unwrap();
        let response = self.0.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status.as_u16(), 201, "{}", String::from_utf8_lossy(&body));
        body
    }
}
