//! One server per test: the production router on a database of its own, with a clock that the test moves.
#![allow(dead_code, unused_imports, reason = "what one room's tests do not need another's do")]

mod client;
mod clock;
#[path = "../../support/database.rs"]
mod database;
#[path = "../../support/pgbouncer.rs"]
mod pgbouncer;
#[path = "../../support/relay.rs"]
mod relay;
#[path = "../../support/smtp.rs"]
mod smtp;
pub(crate) mod tenant;
#[path = "../../support/tools.rs"]
mod tools;

pub(crate) use client::{Call, Reply};
pub(crate) use clock::ManualClock;
pub(crate) use pgbouncer::{CONNECT_QUERY, PgBouncer, PoolMode};
pub(crate) use relay::Relay;
#[allow(unused_imports, reason = "not every test binary receives mail")]
pub(crate) use smtp::Mailbox;
pub(crate) use tools::tool;

use axum::http::{HeaderMap, Method};
pub(crate) use database::TestDatabase;

use igny8::{
    accounts::service::create_developer,
    auth::{
        model::{Email, HashingCost, Password},
        passwords::NewPassword,
        service::{Authenticator, TokenSecrets},
    },
    clock::{Clock as _, Timestamp},
    config::{Config, Sessions},
    db::{self, Pool},
    router,
    router::App,
    state::AppState,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

/// What tokens are signed with here, so that a test can forge one.
pub(crate) const JWT_SECRET: &str = "the secret of the tests, which is long enough";
/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// When every test begins.
const START: &str = "2026-03-01T00:00:00Z";
/// Connections of one test's server.
const POOL_SIZE: u32 = 8;

/// A server with its database and clock.
pub(crate) struct TestApp {
    /// Stands still until it is moved.
    pub(crate) clock: Arc<ManualClock>,
    /// What the server's handlers have.
    pub(crate) state: AppState,
    app: App,
    /// What stands between the server and the database, if anything.
    pooler: Option<PgBouncer>,
    /// Dropped last: it takes the database with it.
    database: TestDatabase,
}

/// Somebody who is signed in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// His access token.
    pub(crate) access: String,
    /// His refresh token.
    pub(crate) refresh: String,
    /// He.
    pub(crate) user_id: i64,
    /// His account.
    pub(crate) account_id: i64,
    /// His address.
    pub(crate) email: String,
}

impl Session {
    /// Reads what registration and login answer.
    pub(crate) fn of(reply: &Reply) -> Self {
        let data = reply.data();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no session in {}", reply.text)).to_owned();
        let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("no session in {}", reply.text));
        Session {
            access: text(&data["access"]),
            refresh: text(&data["refresh"]),
            user_id: number(&data["user"]["id"]),
            account_id: number(&data["user"]["account"]["id"]),
            email: text(&data["user"]["email"]),
        }
    }
}

impl TestApp {
    /// A server with the default configuration.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose configuration the test changes.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        if all_behind_a_pooler() {
            return Self::taking_turns(change).await;
        }
        let database = TestDatabase::new().await;
        let url = database.url().to_owned();
        Self::connected(database, url, change).await
    }

    /// A server behind a PgBouncer in transaction mode, which has fewer sessions than the server has connections.
    pub(crate) async fn taking_turns(change: impl FnOnce(&mut Config)) -> Self {
        let database = TestDatabase::new().await;
        let options = database.connect_options();
        let pooler = PgBouncer::before(&socket_dir(&options), PoolMode::Transaction, "");
        let url = pooler.url(options.get_database().expect("a database"));
        let change = |config: &mut Config| {
            config.database_pooler = Sessions::Shared;
            change(config);
        };
        let app = Self::connected(database, url, change).await;
        TestApp { pooler: Some(pooler), ..app }
    }

    /// A server whose statements are written down on their way to the database.
    pub(crate) async fn relayed() -> (Self, Relay) {
        let database = TestDatabase::new().await;
        let options = database.connect_options();
        let relay = Relay::before(&socket_dir(&options)).await;
        let url = relay.url(options.get_database().expect("a database"));
        (Self::connected(database, url, |_| {}).await, relay)
    }

    /// A server on a database that the test has prepared, connected as `url` says.
    pub(crate) async fn connected(database: TestDatabase, url: String, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::parse(&[], |_| None).expect("the defaults are sound");
        config.database_pool_size = POOL_SIZE;
        change(&mut config);
        let url = SecretString::from(url);
        let options = db::connect_options(&url, "DATABASE_URL").expect("the test database's URL");
        let pool = db::open_pool(options, &config).await.expect("a pool");
        let secrets = TokenSecrets { current: JWT_SECRET.into(), previous: config.jwt_previous_secret_keys.clone() };
        let authenticator = Authenticator::new(HashingCost::TESTS, &secrets).expect("an authenticator");
        let clock = Arc::new(ManualClock::at(START));
        let state = AppState::new(pool, clock.clone(), config, authenticator);
        let (app, _) = router::build(&state);
        TestApp { clock, state, app, pooler: None, database }
    }

    /// The instance that all requests of the test go to, unless it says otherwise.
    pub(crate) fn here(&self) -> &App {
        &self.app
    }

    /// A second instance on the same database: what it keeps in memory is its own.
    pub(crate) fn beside(&self) -> App {
        self.second().1
    }

    /// The same, with what its handlers have.
    pub(crate) fn second(&self) -> (AppState, App) {
        self.second_on(self.state.pool.clone())
    }

    /// The same, with connections of its own, as another process has them.
    pub(crate) async fn elsewhere(&self) -> (AppState, App) {
        let options = PgConnectOptions::clone(&self.state.pool.connect_options());
        self.second_on(db::open_pool(options, &self.state.config).await.expect("a pool"))
    }

    fn second_on(&self, pool: Pool) -> (AppState, App) {
        let secrets = TokenSecrets { current: JWT_SECRET.into(), previous: Vec::new() };
        let authenticator = Authenticator::new(HashingCost::TESTS, &secrets).expect("an authenticator");
        let state = AppState::new(pool, self.clock.clone(), self.state.config.clone(), authenticator);
        let (app, _) = router::build(&state);
        (state, app)
    }

    /// The present, as the server sees it.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// The server's database.
    pub(crate) fn pool(&self) -> &Pool {
        &self.state.pool
    }

    /// The database past the server and whatever is before it.
    pub(crate) fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// A request to be built and sent. Each comes from an address of its own unless it says otherwise.
    pub(crate) fn request(&self, method: Method, path: &str) -> Call {
        request_to(&self.app, method, path)
    }

    /// GET.
    pub(crate) fn get(&self, path: &str) -> Call {
        self.request(Method::GET, path)
    }

    /// POST.
    pub(crate) fn post(&self, path: &str) -> Call {
        self.request(Method::POST, path)
    }

    /// PATCH.
    pub(crate) fn patch(&self, path: &str) -> Call {
        self.request(Method::PATCH, path)
    }

    /// PUT.
    pub(crate) fn put(&self, path: &str) -> Call {
        self.request(Method::PUT, path)
    }

    /// DELETE.
    pub(crate) fn delete(&self, path: &str) -> Call {
        self.request(Method::DELETE, path)
    }

    /// Registers somebody, who then owns an account on the trial.
    pub(crate) async fn register(&self, email: &str) -> Session {
        let form = json!({ "email": email, "password": PASSWORD });
        Session::of(&self.post("/api/v1/auth/register/").json(form).send().await.expect(201))
    }

    /// Signs somebody in.
    pub(crate) async fn log_in(&self, email: &str) -> Session {
        let form = json!({ "email": email, "password": PASSWORD });
        Session::of(&self.post("/api/v1/auth/login/").json(form).send().await.expect(200))
    }

    /// A site of somebody's at this address, and the key by which it calls.
    pub(crate) async fn key_of_a_site(&self, owner: &Session, url: &str) -> String {
        let site = json!({ "name": "Garden", "url": url });
        let id = self.post("/api/v1/auth/sites/").bearer(&owner.access).json(site).send().await.expect(201).data()["id"].clone();
        let key = self.post(&format!("/api/v1/auth/sites/{id}/api-key/")).bearer(&owner.access).json(json!({})).send().await.expect(201);
        key.data()["key"].as_str().expect("a key").to_owned()
    }

    /// A developer on the system account, made as `igny8 create-admin` makes one, and signed in.
    pub(crate) async fn operator(&self) -> Session {
        let email = Email::parse("staff@example.com").expect("an address");
        let password = NewPassword::parse(Password(PASSWORD.into())).expect("a password");
        create_developer(self.state.desk(), &email, &password, self.now()).await.expect("a developer");
        self.log_in("staff@example.com").await
    }

    /// Asserts the money invariants.
    pub(crate) async fn verify(&self) {
        let violations = igny8::system::service::verify(self.pool()).await.expect("the laws can be asked");
        assert!(violations.is_empty(), "laws are broken: {violations:?}");
    }

    /// One number from the database.
    pub(crate) async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.pool()).await.expect("a count")
    }

    /// Changes the database by hand.
    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(self.pool()).await.expect("the statement runs");
    }
}

/// A request to a service that a test has put together by itself.
pub(crate) fn request_to(app: &App, method: Method, path: &str) -> Call {
    let (app, path) = (app.clone(), path.to_owned());
    Call { app, method, path, headers: HeaderMap::new(), body: "".into(), address: fresh_address() }
}

/// `TEST_POOLER=transaction cargo test --test api` runs every test behind PgBouncer in transaction mode.
#[expect(clippy::disallowed_methods, reason = "how the tests are run is no setting of the application")]
fn all_behind_a_pooler() -> bool {
    std::env::var("TEST_POOLER").is_ok_and(|mode| mode == "transaction")
}

/// The folder of the socket that a URL of the tests' database names, unless it is on another machine.
pub(crate) fn socket_dir(options: &PgConnectOptions) -> String {
    options.get_socket().expect("the tests' database is on a socket").display().to_string()
}

/// An address of 10.0.0.0/8 that nobody had before.
fn fresh_address() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0x0A01_0001);
    IpAddr::V4(Ipv4Addr::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}
