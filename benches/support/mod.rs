//! What the measurements share: a durable Postgres with accounts in it, the release binary in a process of its own, and a
//! kept-alive client.
#![allow(dead_code, reason = "what one measurement does not need the other does")]

pub(crate) mod bare;

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
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

/// What the tokens are signed with.
pub(crate) const SECRET: &str = "the secret of the benchmark, which is long enough";

/// One measurement.
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) micros: Vec<u32>,
}

impl Run {
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let place = ((self.micros.len() as f64 - 1.0) * share) as usize;
        f64::from(self.micros.get(place).copied().unwrap_or(0)) / 1000.0
    }
}

pub(crate) fn option(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// One kept-alive connection, without a library: what the generator takes of the two cores, the server lacks.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: Vec::with_capacity(4_096) }
    }

    pub(crate) async fn debit(&mut self, token: &str) {
        self.send("POST /api/v1/billing/credits/deduct/", token, DEBIT, "201").await;
    }

    /// A debit that may be sent again.
    pub(crate) async fn debit_once(&mut self, token: &str, key: u64) {
        let head = format!("POST /api/v1/billing/credits/deduct/ HTTP/1.1\r\nidempotency-key: {key:016x}");
        self.send_head(&head, token, DEBIT, "201").await;
    }

    pub(crate) async fn hold_and_capture(&mut self, token: &str) {
        let placed = self.send("POST /api/v1/billing/credits/holds/", token, DEBIT, "201").await;
        let placed: serde_json::Value = serde_json::from_slice(placed).unwrap();
        let capture = format!("POST /api/v1/billing/credits/holds/{}/capture/", placed["data"]["hold"]["id"]);
        self.send(&capture, token, b"{}", "201").await;
    }

    /// The plain transaction that is measured beside.
    pub(crate) async fn plain(&mut self, token: &str) {
        self.send("POST /debit", token, DEBIT, "201").await;
    }

    pub(crate) async fn get(&mut self, path: &str, token: &str) {
        self.send(&format!("GET {path}"), token, b"", "200").await;
    }

    /// A login with a wrong password, through a proxy that says where it comes from; the status of the answer.
    pub(crate) async fn guess(&mut self, email: &str, from: &str) -> u16 {
        let form = serde_json::json!({"email": email, "password": "a wrong password"}).to_string();
        let lines =
            format!("host: localhost\r\nx-forwarded-for: {from}\r\ncontent-type: application/json\r\ncontent-length: {}", form.len());
        self.buffer.clear();
        self.buffer.extend_from_slice(format!("POST /api/v1/auth/login/ HTTP/1.1\r\n{lines}\r\n\r\n{form}").as_bytes());
        self.exchange().await;
        String::from_utf8_lossy(&self.buffer[9..12]).parse().unwrap()
    }

    async fn send(&mut self, line: &str, token: &str, body: &[u8], status: &str) -> &[u8] {
        self.send_head(&format!("{line} HTTP/1.1"), token, body, status).await
    }

    /// Sends one request, and gives the answer's body once it is there; panics at another status.
    async fn send_head(&mut self, head: &str, token: &str, body: &[u8], status: &str) -> &[u8] {
        self.buffer.clear();
        self.buffer.extend_from_slice(head.as_bytes());
        self.buffer.extend_from_slice(b"\r\nhost: localhost\r\nauthorization: Bearer ");
        self.buffer.extend_from_slice(token.as_bytes());
        if !body.is_empty() {
            let lines = format!("\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
            self.buffer.extend_from_slice(lines.as_bytes());
        }
        self.buffer.extend_from_slice(b"\r\n\r\n");
        self.buffer.extend_from_slice(body);
        let (begins, ends) = self.exchange().await;
        assert_eq!(&self.buffer[9..12], status.as_bytes(), "{}", String::from_utf8_lossy(&self.buffer));
        &self.buffer[begins..ends]
    }

    /// Sends what the buffer has, and fills it with the answer; where its body begins and ends.
    async fn exchange(&mut self) -> (usize, usize) {
        self.stream.write_all(&self.buffer).await.unwrap();
        self.buffer.clear();
        loop {
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "the server closed the connection");
            if let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let ends = head + 4 + content_length(&self.buffer[..head]);
                if self.buffer.len() >= ends {
                    break (head + 4, ends);
                }
            }
        }
    }
}

const DEBIT: &[u8] = br#"{"operation":"content_generation","quantity":100}"#;

fn content_length(head: &[u8]) -> usize {
    let name = b"content-length: ";
    let at = head.windows(name.len()).position(|found| found.eq_ignore_ascii_case(name)).expect("every answer here has a length");
    head[at + name.len()..].iter().take_while(|digit| digit.is_ascii_digit()).fold(0, |sum, digit| 10 * sum + usize::from(digit - b'0'))
}

/// A durable Postgres in a folder that goes with it.
pub(crate) struct Database {
    pub(crate) postgres: PrivatePostgres,
    pub(crate) dir: PathBuf,
}

impl Database {
    pub(crate) async fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("igny8-bench-{}", std::process::id()));
        let settings = Settings { data_dir: dir.clone(), bin_dir: None, durability: Durability::Durable };
        let postgres = tokio::task::spawn_blocking(move || PrivatePostgres::start(&settings).unwrap()).await.unwrap();
        Database { postgres, dir }
    }

    /// Stops it, then takes its folder away.
    pub(crate) fn end(self) {
        drop(self.postgres);
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// Whether numbers are wanted, and not only whether it runs at all (`cargo test --benches`).
pub(crate) fn is_measurement() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Keeps so many connections busy for a while, each with one `call` after the other; `call` gets the request's place.
pub(crate) async fn keep_busy<F, C>(port: u16, connections: usize, period: Duration, call: F) -> Run
where
    F: Fn(Client, usize) -> C + Clone + Send + 'static,
    C: Future<Output = Client> + Send,
{
    let began = Instant::now();
    let worker = |worker: usize| {
        let call = call.clone();
        async move {
            let mut client = Client::connect(port).await;
            let mut micros = Vec::new();
            // A cheap generator of its own for each worker: the same sequence in each run.
            let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(worker as u64 + 1);
            while began.elapsed() < period {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let sent = Instant::now();
                client = call(client, (state >> 33) as usize).await;
                micros.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            micros
        }
    };
    let workers = (0..connections).map(|place| tokio::spawn(worker(place))).collect::<Vec<_>>();
    let mut micros = Vec::new();
    for worker in workers {
        micros.extend(worker.await.unwrap());
    }
    let took = began.elapsed().as_secs_f64();
    micros.sort_unstable();
    Run { per_second: micros.len() as f64 / took, micros }
}

pub(crate) fn session(account: i64) -> Uuid {
    Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000 + account as u128)
}

pub(crate) fn token(account: i64) -> String {
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
pub(crate) async fn seed(postgres: &PrivatePostgres, accounts: i64) {
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

/// The release binary, in a process of its own.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) async fn start(postgres: &PrivatePostgres, dir: &Path) -> Self {
        Self::started(Self::command(postgres, dir)).await
    }

    /// With limits, behind a proxy on this machine that says where each request comes from.
    pub(crate) async fn start_throttled(postgres: &PrivatePostgres, dir: &Path) -> Self {
        let mut command = Self::command(postgres, dir);
        command.env_remove("THROTTLE_DISABLED").env("TRUSTED_PROXIES", "127.0.0.0/8");
        Self::started(command).await
    }

    async fn started(mut command: Command) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = command.arg("serve").env("BIND_ADDR", format!("127.0.0.1:{port}")).stdout(Stdio::null()).spawn().unwrap();
        let server = Server { child, port };
        while !server.is_ready().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else { return false };
        let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        let mut answer = String::new();
        asked.is_ok() && stream.read_to_string(&mut answer).await.is_ok() && answer.starts_with("HTTP/1.1 200")
    }

    /// Resident memory in MB, by the kernel.
    pub(crate) fn resident_mb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1_024
    }

    pub(crate) fn command(postgres: &PrivatePostgres, dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igny8"));
        command
            .env("DATABASE_URL", postgres.url("bench"))
            .env("JWT_SECRET_KEY", SECRET)
            .env("THROTTLE_DISABLED", "true")
            .env("LOG_LEVEL", "warn")
            .env("DATA_DIR", dir);
        command
    }

    pub(crate) fn verify(&self, postgres: &PrivatePostgres, dir: &Path) -> String {
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
