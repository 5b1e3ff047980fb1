//! What a flood of wrong passwords costs everybody else: `GET auth/me/` by eight paced connections, calm and beside 200
//! parallel logins, interleaved in one run.
//!
//! `cargo bench --bench flood`. Options by environment: `BENCH_SECONDS` per phase (10), `BENCH_ROUNDS` (3), `BENCH_GUESSERS`
//! (200). Three phases take turns. *Calm*: nothing else is sent. *Sham*: a generator of its own process sends logins that are
//! refused before a password is hashed, with as many connections and at the rate of the flood before it; it costs the machine
//! what the flood's generator costs it. *Flood*: the same generator sends wrong passwords as fast as they are answered, each
//! from another address and for another e-mail, so that nothing but hashing bounds them. Limits are on, as in production.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::float_arithmetic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement, not the product"
)]

mod support;

use std::{
    collections::BTreeMap,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use support::{Client, Database, Run, Server, is_measurement, option, seed, token};

const ACCOUNTS: usize = 2_000;
/// Connections of those who only want to know who they are, and the time from one of their requests to the next.
const OTHERS: usize = 8;
const EVERY: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() {
    if std::env::var("BENCH_FLOOD_PORT").is_ok() {
        return generate().await;
    }
    let (seconds, rounds) = if is_measurement() { (option("BENCH_SECONDS", 10), option("BENCH_ROUNDS", 3)) } else { (1, 1) };
    let guessers = option("BENCH_GUESSERS", if is_measurement() { 200 } else { 4 });
    let database = Database::start().await;
    seed(&database.postgres, ACCOUNTS as i64).await;
    let server = Server::start_throttled(&database.postgres, &database.dir).await;
    let tokens = Arc::new((1..=ACCOUNTS as i64).map(token).collect::<Vec<_>>());
    // Every session is met once before anything is measured.
    others(server.port, &tokens, Duration::from_secs(2)).await;
    let (period, resident) = (Duration::from_secs(seconds), server.resident_mb());
    let (mut calm, mut sham, mut flood, mut most) = (Vec::new(), Vec::new(), Vec::new(), resident);
    let mut rate = 40;
    for _ in 0..rounds {
        calm.push(others(server.port, &tokens, period).await);
        for is_sham in [false, true] {
            let generator = Generator::start(server.port, guessers, seconds + 2, if is_sham { rate } else { 0 });
            tokio::time::sleep(Duration::from_secs(1)).await;
            let run = others(server.port, &tokens, period).await;
            most = most.max(server.resident_mb());
            let answers = generator.end();
            let sent = answers.values().sum::<u64>();
            println!("{}: {sent} logins in {} s, by status {answers:?}", if is_sham { "sham " } else { "flood" }, seconds + 2);
            if is_sham {
                sham.push(run);
            } else {
                rate = (sent / (seconds + 2)).max(1);
                flood.push(run);
            }
        }
    }
    println!("\n{guessers} guessers; {OTHERS} others with a request every {} ms each; {rounds} rounds of {seconds} s", EVERY.as_millis());
    println!("phase   others/s   p50 ms   p99 ms   p50 ratio   p99 ratio");
    for (name, runs) in [("calm", &calm), ("sham", &sham), ("flood", &flood)] {
        let at = |share| (mean(runs, share), mean(runs, share) / mean(&calm, share));
        let ((p50, p50_ratio), (p99, p99_ratio)) = (at(0.5), at(0.99));
        let per_second = runs.iter().map(|run| run.per_second).sum::<f64>() / runs.len() as f64;
        println!("{name:<5}   {per_second:>8.0}   {p50:>6.2}   {p99:>6.2}   {p50_ratio:>9.2}   {p99_ratio:>9.2}");
    }
    println!("p99 of the flood against the sham: {:.2}", mean(&flood, 0.99) / mean(&sham, 0.99));
    println!("resident: {resident} MB before, {most} MB at the most");
    println!("igny8 verify: {}", server.verify(&database.postgres, &database.dir));
    drop(server);
    database.end();
}

fn mean(runs: &[Run], share: f64) -> f64 {
    runs.iter().map(|run| run.percentile(share)).sum::<f64>() / runs.len() as f64
}

/// Somebody else's requests at an even pace, on several connections.
async fn others(port: u16, tokens: &Arc<Vec<String>>, period: Duration) -> Run {
    let began = Instant::now();
    let workers = (0..OTHERS).map(|worker| {
        let tokens = Arc::clone(tokens);
        tokio::spawn(async move {
            let mut client = Client::connect(port).await;
            let mut micros = Vec::new();
            let mut pace = tokio::time::interval(EVERY);
            pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for token in tokens.iter().cycle().skip(worker * tokens.len() / OTHERS) {
                pace.tick().await;
                if began.elapsed() >= period {
                    break;
                }
                let sent = Instant::now();
                client.get("/api/v1/auth/me/", token).await;
                micros.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            micros
        })
    });
    let mut micros = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        micros.extend(worker.await.unwrap());
    }
    let took = began.elapsed().as_secs_f64();
    micros.sort_unstable();
    Run { per_second: micros.len() as f64 / took, micros }
}

/// The guessers, in a process of their own: what they cost is not taken from those who measure.
struct Generator(Child);

impl Generator {
    /// At so many logins a second, which are refused before anything is hashed; 0: wrong passwords, without a pause.
    fn start(port: u16, guessers: u64, seconds: u64, rate: u64) -> Self {
        let settings = [("PORT", u64::from(port)), ("GUESSERS", guessers), ("SECONDS", seconds), ("RATE", rate)];
        let variables = settings.map(|(name, value)| (format!("BENCH_FLOOD_{name}"), value.to_string()));
        let command = std::env::current_exe().unwrap();
        Generator(Command::new(command).envs(variables).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// How many logins were answered with which status.
    fn end(self) -> BTreeMap<String, u64> {
        let output = self.0.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

async fn generate() {
    let [port, guessers, seconds, rate] = ["PORT", "GUESSERS", "SECONDS", "RATE"].map(|name| option(&format!("BENCH_FLOOD_{name}"), 0));
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let guesser = |_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut client = Client::connect(u16::try_from(port).unwrap()).await;
            let mut statuses = BTreeMap::<String, u64>::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if rate > 0 {
                    tokio::time::sleep_until((began + Duration::from_secs_f64(n as f64 / rate as f64)).into()).await;
                }
                if began.elapsed().as_secs() >= seconds {
                    return statuses;
                }
                let email = if rate > 0 { "nobody".to_owned() } else { format!("nobody-{n}-{}@example.com", std::process::id()) };
                let from = format!("10.{}.{}.{}", n >> 16 & 255, n >> 8 & 255, n & 255);
                let status = client.guess(&email, &from).await;
                *statuses.entry(status.to_string()).or_default() += 1;
            }
        })
    };
    let mut statuses = BTreeMap::<String, u64>::new();
    for guesser in (0..guessers).map(guesser).collect::<Vec<_>>() {
        for (status, count) in guesser.await.unwrap() {
            *statuses.entry(status).or_default() += count;
        }
    }
    println!("{}", serde_json::to_string(&statuses).unwrap());
}
