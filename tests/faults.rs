//! What is left when something is killed: nothing acknowledged is lost, nothing happens twice, and it serves again.
//!
//! Three rounds of each kind run with the tests; `FAULT_ROUNDS=20 cargo test --test faults` is the long proof. How long others
//! wait during a flood is measured by `cargo bench --bench flood`, not asserted here.

#![allow(clippy::disallowed_methods, reason = "how long a recovery takes is real time; how the tests are run is no setting")]
#![allow(dead_code, reason = "the support serves several kinds of test")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/program.rs"]
mod program;

use cluster::{Cluster, Folder};
use futures::{StreamExt as _, future::join_all, stream};
use program::{Program, Web};
use serde_json::json;
use sqlx::{PgPool, postgres::PgPoolOptions};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
const HOLDS: &str = "/api/v1/billing/credits/holds/";
const REGISTER: &str = "/api/v1/auth/register/";
const CONFIRM: &str = "/api/v1/billing/admin/confirm-bank-transfer/";
/// Clients at once.
const WORKERS: u64 = 6;
/// From the kill of the server, or the end of Postgres's own recovery, to the first answer "ready".
const SERVING_WITHIN: Duration = Duration::from_secs(3);
/// How long a client keeps asking about one thing.
const ASKING: Duration = Duration::from_secs(20);
/// Mutations that are hung up on, for each round.
const HANG_UPS_PER_ROUND: u64 = 500;
/// Milliseconds after which the most patient client has gone.
const PATIENCE_MILLIS: u64 = 20;
/// Wrong passwords at once.
const GUESSERS: usize = 200;
/// Kibibytes that a flood of wrong passwords may cost: the permitted hashes, and every request that waits.
const FLOOD_KIB_MAX: u64 = 128 * 1024;

fn rounds() -> u64 {
    std::env::var("FAULT_ROUNDS").ok().map_or(3, |rounds| rounds.parse().expect("FAULT_ROUNDS is a number"))
}

/// Something that is to happen exactly once, with the name that makes it so.
#[derive(Debug, Clone)]
enum Deed {
    /// A debit, by its key.
    Spend(String),
    /// A hold, by its key, and its capture.
    Hold(String),
    /// A signup, by its address.
    SignUp(String),
    /// A bank transfer, by the bank's reference.
    Confirm(String),
}

/// How an attempt at a deed ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Done,
    Unknown,
}

/// A client with an account.
#[derive(Clone)]
struct Customer {
    web: Web,
    token: String,
    staff: String,
    account: i64,
}

impl Customer {
    async fn attempt(&self, deed: &Deed) -> Ended {
        let (answer, done): (_, &[u16]) = match deed {
            Deed::Spend(key) => {
                let body = json!({"operation": "content_generation", "quantity": 1, "reference": key});
                (self.web.post(DEDUCT, &self.token, key, &body).await, &[201])
            }
            Deed::Hold(key) => return self.hold(key).await,
            Deed::SignUp(email) => {
                let form = json!({"email": email, "password": program::PASSWORD});
                // 400: the address is taken, by the first attempt.
                (self.web.post(REGISTER, "", "", &form).await, &[201, 400])
            }
            Deed::Confirm(reference) => {
                let transfer = json!({"account_id": self.account, "external_payment_id": reference, "amount": "89.00",
                                      "payer_name": "Ana", "plan_slug": "starter"});
                (self.web.post(CONFIRM, &self.staff, "", &transfer).await, &[200])
            }
        };
        match answer {
            Some((status, _)) if done.contains(&status) => Ended::Done,
            Some((status, body)) if status < 500 => panic!("{deed:?} was answered with {status}: {body}"),
            _ => Ended::Unknown,
        }
    }

    async fn hold(&self, key: &str) -> Ended {
        let body = json!({"operation": "content_generation", "quantity": 100, "reference": key});
        let Some((201, placed)) = self.web.post(HOLDS, &self.token, key, &body).await else { return Ended::Unknown };
        let id = placed["data"]["hold"]["id"].as_i64().expect("a hold");
        let captured = self.web.post(&format!("{HOLDS}{id}/capture/"), &self.token, &format!("{key}-capture"), &json!({})).await;
        if captured.is_some_and(|(status, _)| status == 201) { Ended::Done } else { Ended::Unknown }
    }

    /// Does one deed after another until `stop` or the first that has no answer; what was acknowledged and what not.
    async fn work(self, name: String, first: u64, stop: Arc<AtomicBool>) -> (Vec<Deed>, Option<Deed>) {
        let mut acknowledged = Vec::new();
        for n in first.. {
            let deed = match n % 12 {
                2 | 8 => Deed::Hold(format!("{name}-{n}")),
                4 => Deed::SignUp(format!("{name}-{n}@example.com")),
                10 => Deed::Confirm(format!("BT-{name}-{n}")),
                _ => Deed::Spend(format!("{name}-{n}")),
            };
            if self.attempt(&deed).await == Ended::Unknown {
                return (acknowledged, Some(deed));
            }
            acknowledged.push(deed);
            if stop.load(Ordering::SeqCst) {
                break;
            }
        }
        (acknowledged, None)
    }

    /// Tries again what had no answer, until it has one.
    async fn insist(&self, deed: &Deed) {
        let began = Instant::now();
        while self.attempt(deed).await == Ended::Unknown {
            assert!(began.elapsed() < ASKING, "{deed:?} has no answer even now");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A durable Postgres, the program on it, and customers with accounts.
struct Stage {
    program: Program,
    cluster: Cluster,
    folder: Folder,
    customers: Vec<Customer>,
    pool: PgPool,
}

impl Stage {
    async fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let cluster = Cluster::new(&folder, "db", &["max_connections=100"]);
        cluster.sql(&folder, "postgres", "create database igny8");
        assert_eq!(cluster.sql(&folder, "igny8", "show fsync"), "on");
        let mut program = Program::on(folder.path.clone(), &cluster.url("igny8"));
        program.start();
        let web = program.client();
        program.ready(&web).await;
        let made = program.run(&["create-admin", "--email", "staff@example.com", "--password-stdin"], program::PASSWORD);
        assert!(made.status.success(), "{made:?}");
        let staff = web.log_in("staff@example.com").await;
        let mut customers = Vec::new();
        for n in 0..WORKERS {
            let (token, account) = web.register(&format!("customer-{n}@example.com")).await;
            customers.push(Customer { web: program.client(), token, staff: staff.clone(), account });
        }
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&cluster.url("igny8")).expect("a URL");
        Stage { program, cluster, folder, customers, pool }
    }

    async fn texts(&self, query: &'static str) -> Vec<String> {
        // The first connection after a kill may be one of those that died.
        let mut refused = None;
        for _ in 0..10 {
            match sqlx::query_scalar(query).fetch_all(&self.pool).await {
                Ok(texts) => return texts,
                Err(error) => refused = Some(error),
            }
        }
        panic!("{query}: {refused:?}")
    }

    /// Kills something in the middle of the work; what was acknowledged before, and all that had no answer is done by then.
    async fn round(&mut self, round: u64, kill: impl AsyncFnOnce(&mut Self)) -> Vec<Deed> {
        let stop = Arc::new(AtomicBool::new(false));
        // Each begins with another kind of deed, so that all kinds are under way at once.
        let work = |(n, customer): (u64, &Customer)| tokio::spawn(customer.clone().work(format!("r{round}w{n}"), n * 2, Arc::clone(&stop)));
        let working = (0..).zip(&self.customers).map(work).collect::<Vec<_>>();
        // Each round another moment: what is killed is at another place.
        tokio::time::sleep(Duration::from_millis(400 + round * 137 % 500)).await;
        kill(self).await;
        stop.store(true, Ordering::SeqCst);
        let mut deeds = Vec::new();
        for (worked, customer) in join_all(working).await.into_iter().zip(&self.customers) {
            let (acknowledged, open) = worked.expect("no worker panics");
            deeds.extend(acknowledged);
            if let Some(open) = open {
                customer.insist(&open).await;
                deeds.push(open);
            }
        }
        deeds
    }

    /// Every deed has exactly one effect, and nobody else has.
    async fn assert_once(&self, deeds: &[Deed]) {
        let names = |of: fn(&Deed) -> Option<&String>| {
            let names = deeds.iter().filter_map(of).cloned().collect::<Vec<_>>();
            let distinct = names.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(distinct.len(), names.len());
            distinct.into_iter().collect::<Vec<_>>()
        };
        let spends = names(|deed| if let Deed::Spend(name) | Deed::Hold(name) = deed { Some(name) } else { None });
        let holds = names(|deed| if let Deed::Hold(name) = deed { Some(name) } else { None });
        let people = names(|deed| if let Deed::SignUp(name) = deed { Some(name) } else { None });
        let transfers = names(|deed| if let Deed::Confirm(name) = deed { Some(name) } else { None });

        let deductions = "select reference from credit_transactions where kind = 'deduction' order by reference collate \"C\"";
        assert_eq!(self.texts(deductions).await, spends, "debits");
        assert_eq!(self.texts("select reference from credit_holds order by reference collate \"C\"").await, holds, "holds");
        let users = "select email from users where email not like 'customer-%' and email not like 'staff@%' order by email collate \"C\"";
        assert_eq!(self.texts(users).await, people, "signups");
        let paid = "select p.external_payment_id from payments p join subscription_periods s using (account_id, payment_id) \
                    where p.status = 'confirmed' order by p.external_payment_id collate \"C\"";
        assert_eq!(self.texts(paid).await, transfers, "confirmations, each with its period");
        assert!(!spends.is_empty() && !holds.is_empty() && !people.is_empty() && !transfers.is_empty(), "{deeds:?}");
        self.program.verify();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_it_acknowledged_and_does_nothing_twice() {
    let mut stage = Stage::new("server-killed").await;
    let (mut deeds, mut slowest) = (Vec::new(), Duration::ZERO);

    for round in 0..rounds() {
        let took = Mutex::new(Duration::ZERO);
        let done = stage.round(round, async |stage| {
            stage.program.kill();
            let killed = Instant::now();
            stage.program.start();
            stage.program.ready(&stage.program.client()).await;
            *took.lock().expect("nobody panicked") = killed.elapsed();
        });
        deeds.extend(done.await);
        slowest = slowest.max(took.into_inner().expect("nobody panicked"));
        stage.assert_once(&deeds).await;
    }

    println!("{} deeds, server killed {} times, serving again after at most {slowest:?}", deeds.len(), rounds());
    assert!(slowest < SERVING_WITHIN, "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_nothing_acknowledged_and_the_server_recovers_by_itself() {
    let mut stage = Stage::new("postgres-killed").await;
    let (mut deeds, mut slowest, mut slowest_postgres) = (Vec::new(), Duration::ZERO, Duration::ZERO);

    for round in 0..rounds() {
        let took = Mutex::new((Duration::ZERO, Duration::ZERO));
        let done = stage.round(round, async |stage| {
            stage.cluster.kill();
            let killed = Instant::now();
            let (alive, _) = stage.program.client().get("/healthz", "").await.expect("the server lives on");
            assert_eq!(alive, 200);
            stage.cluster.start(&stage.folder);
            let recovered = killed.elapsed();
            let ready = stage.program.ready(&stage.program.client()).await;
            *took.lock().expect("nobody panicked") = (recovered, ready);
        });
        deeds.extend(done.await);
        let (recovered, ready) = took.into_inner().expect("nobody panicked");
        (slowest_postgres, slowest) = (slowest_postgres.max(recovered), slowest.max(ready));
        stage.assert_once(&deeds).await;
    }

    println!(
        "{} deeds, Postgres killed {} times, recovered after at most {slowest_postgres:?}, serving at most {slowest:?} later",
        deeds.len(),
        rounds()
    );
    assert!(slowest < SERVING_WITHIN, "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_whose_client_hangs_up_have_one_whole_effect_or_none() {
    let stage = Stage::new("hung-up").await;
    let count = rounds() * HANG_UPS_PER_ROUND;
    for customer in &stage.customers {
        // Kept over the resets of paid periods: enough for all that is asked.
        let (path, gift) =
            (format!("/api/v1/billing/admin/accounts/{}/credits/", customer.account), json!({"amount": count, "reason": "a test"}));
        let given = customer.web.post(&path, &customer.staff, "", &gift).await.expect("an answer");
        assert!((200..300).contains(&given.0), "{given:?}");
    }
    let deed = |n: u64| match n % 50 {
        0 => Deed::Confirm(format!("BT-{n}")),
        1 => Deed::SignUp(format!("guest-{n}@example.com")),
        2..10 => Deed::Hold(format!("job-{n}")),
        _ => Deed::Spend(format!("job-{n}")),
    };
    let customer = |n: u64| stage.customers[usize::try_from(n % WORKERS).expect("a few")].clone();

    let hung_up = stream::iter(0..count).map(|n| {
        let (deed, customer) = (deed(n), customer(n));
        // Dropping the future closes the connection under the server.
        async move { tokio::time::timeout(Duration::from_millis(n * 7 % (PATIENCE_MILLIS + 1)), customer.attempt(&deed)).await.is_err() }
    });
    let hung_up = hung_up.buffer_unordered(16).filter(|hung_up| std::future::ready(*hung_up)).count().await;

    let idle = "select pid::text from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'";
    let settling = Instant::now();
    while !stage.texts(idle).await.is_empty() {
        assert!(settling.elapsed() < Duration::from_secs(5), "sessions stay idle in transaction");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.program.verify();
    let alone = stage.texts("select reference from credit_transactions where kind = 'deduction'").await.len();
    // Sent again with patience, each has its one effect.
    stream::iter(0..count).for_each_concurrent(8, |n| async move { customer(n).insist(&deed(n)).await }).await;
    stage.assert_once(&(0..count).map(deed).collect::<Vec<_>>()).await;
    println!("{hung_up} of {count} clients hung up; {alone} debits were done all the same");
    assert!(hung_up > 0 && alone > 0, "{hung_up} {alone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_passwords_costs_bounded_memory_and_others_are_served() {
    let stage = Stage::new("flooded").await;
    let before = stage.program.resident_kib();
    let stop = Arc::new(AtomicBool::new(false));

    let guessing = (0..GUESSERS).map(|n| {
        let (web, stop) = (stage.program.client(), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                // Nobody is slowed down here, so that each guess is hashed; no address fails twice.
                let form = json!({"email": format!("nobody-{n}-{}@example.com", statuses.len()), "password": "a wrong password"});
                let (status, _) = web.post("/api/v1/auth/login/", "", "", &form).await.expect("an answer");
                statuses.push(status);
            }
            statuses
        })
    });
    let guessing = guessing.collect::<Vec<_>>();
    let seconds = if rounds() < 20 { 5 } else { 30 };
    let (began, mut most, mut served) = (Instant::now(), before, 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        let customer = &stage.customers[served % stage.customers.len()];
        let (status, body) = customer.web.get("/api/v1/billing/credits/balance/", &customer.token).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        served += 1;
        most = most.max(stage.program.resident_kib());
    }
    stop.store(true, Ordering::SeqCst);
    let mut statuses = Vec::new();
    for guesser in guessing {
        statuses.extend(guesser.await.expect("every guess is answered"));
    }

    let (wrong, sent_away) =
        (statuses.iter().filter(|status| **status == 401).count(), statuses.iter().filter(|status| **status == 503).count());
    println!("{wrong} wrong passwords and {sent_away} sent away in {seconds} s, {} KiB more; {served} others served", most - before);
    assert_eq!(wrong + sent_away, statuses.len(), "nothing but 401 and 503");
    assert!(wrong > 0 && served > 0, "{wrong} {served}");
    assert!(most - before < FLOOD_KIB_MAX, "{} KiB", most - before);
    stage.program.verify();
}
