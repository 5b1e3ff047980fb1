//! A database of its own for every test, cloned from a template that has the migrations.
//!
//! With `DATABASE_URL` set, that server is used (its role must be allowed to create databases); else a private one that
//! costs nothing to set up. Tests run side by side, in threads or processes.
#![allow(dead_code, reason = "every test binary includes this file and uses its own part of it")]

use std::{env, ffi::OsString, path::PathBuf, sync::OnceLock, thread, time::Duration};

use igny8::{
    db::MIGRATOR,
    embedded::{Durability, PrivatePostgres, Settings},
};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

/// Connections that one test may use at once.
const CONNECTIONS_MAX: u32 = 10;
/// What a test leaves behind is swept when it is older than this.
const LEFTOVER_SECONDS_MAX: u64 = 10 * 60;
/// A template that no checkout has been using for so long is swept: it is rebuilt when it is asked for again.
const TEMPLATE_SECONDS_MAX: u64 = 24 * 60 * 60;
/// "One at a time" between all test processes on one server.
const LOCK: i64 = 77_031;

/// A throw-away database with all migrations applied and no rows. Dropped at the end, unless the test fails: then it
/// stays for ten minutes and its name is printed.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    name: String,
    url: String,
    options: PgConnectOptions,
    pool: PgPool,
    is_dropped: bool,
}

impl TestDatabase {
    /// Clones the template.
    pub(crate) async fn new() -> Self {
        let server_url = server_url().await;
        let mut admin = connect(&options_of(server_url)).await;
        let template = template(&mut admin, server_url).await;
        let name = format!("t_{}", dated_id().simple());
        run(&mut admin, format!("create database {name} template {template}")).await;
        close(admin).await;

        let url = with_database(server_url, &name);
        let options = options_of(&url);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_lazy_with(options.clone());
        Self { name, url, options, pool, is_dropped: false }
    }

    /// For code that makes its own connections.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// At most ten connections, opened as needed.
    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// For one connection more, outside the pool.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Drops the database now. Going out of scope does the same, but blocks its thread for it.
    pub(crate) async fn close(mut self) {
        self.is_dropped = true;
        self.pool.close().await;
        drop_database(&self.name).await;
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if self.is_dropped {
            return;
        }
        if thread::panicking() {
            eprintln!("the test's database is kept for ten minutes: {}", self.url);
            return;
        }
        // A thread and a runtime of its own: here we may be inside the test's runtime, which must not be blocked on
        // itself. Connections that are still open are cut by the server.
        let name = self.name.clone();
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(drop_database(&name));
        });
        if dropping.join().is_err() {
            eprintln!("the test's database could not be dropped: {}", self.url);
        }
    }
}

/// The URL of the server's own database: `DATABASE_URL`, else a private server that lives as long as any test process.
async fn server_url() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    // Never dropped: at the end of the process the kernel lets go for us, and the server stops if we were the last.
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    let find = || match variable("DATABASE_URL") {
        Some(url) => url.into_string().expect("DATABASE_URL is text"),
        None => {
            let settings = Settings {
                data_dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
                bin_dir: variable("PG_BIN_DIR").map(PathBuf::from),
                durability: Durability::Disposable,
            };
            let start = || PrivatePostgres::start(&settings).unwrap_or_else(|error| panic!("{}", chain(&error)));
            SERVER.get_or_init(start).url("postgres")
        }
    };
    tokio::task::spawn_blocking(move || URL.get_or_init(find).as_str()).await.expect("a database server for the tests")
}

#[expect(clippy::disallowed_methods, reason = "how the tests are run, not a setting of the application")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "names and dates throw-away databases, which no test reads")]
fn dated_id() -> Uuid {
    Uuid::now_v7()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The template's name; built first if this server has none for exactly these migrations.
async fn template(admin: &mut PgConnection, server_url: &str) -> String {
    // FNV-1a over the checksums: a changed migration makes another template.
    let sum = MIGRATOR
        .iter()
        .flat_map(|migration| migration.checksum.iter())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let name = format!("tpl_{sum:016x}");
    if is_template(admin, &name).await {
        sweep(admin, &name).await;
        return name;
    }
    // A lock of the session, because `create database` cannot run inside a transaction.
    sqlx::query("select pg_advisory_lock($1)").bind(LOCK).execute(&mut *admin).await.expect("lock the template");
    if !is_template(admin, &name).await {
        run(admin, format!("drop database if exists {name} with (force)")).await;
        run(admin, format!("create database {name} template template0")).await;
        let mut migrated = connect(&options_of(&with_database(server_url, &name))).await;
        MIGRATOR.run(&mut migrated).await.expect("the migrations apply to an empty database");
        close(migrated).await;
        // The last step is the sign that it is finished. A template takes no connections: one would block cloning.
        run(admin, format!("alter database {name} with is_template true allow_connections false")).await;
    }
    sqlx::query("select pg_advisory_unlock($1)").bind(LOCK).execute(&mut *admin).await.expect("unlock the template");
    name
}

async fn is_template(admin: &mut PgConnection, name: &str) -> bool {
    let found = sqlx::query_scalar("select datistemplate from pg_database where datname = $1");
    found.bind(name).fetch_optional(admin).await.expect("look for the template").unwrap_or(false)
}

/// Drops what failed and killed tests left, once per process. Another process at it, or a lost race, is fine.
async fn sweep(admin: &mut PgConnection, current_template: &str) {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.set(()).is_err() {
        return;
    }
    let (now, _) = dated_id().get_timestamp().expect("version 7 carries its time").to_unix();
    // The name of a database begins with its time in milliseconds, in hexadecimal, so names sort by age.
    let oldest_kept = format!("t_{:012x}", (now - LEFTOVER_SECONDS_MAX) * 1000);
    let unused = "not exists (select 1 from pg_stat_activity a where a.datname = d.datname)";
    let leftovers: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "select datname::text from pg_database d where datname ~ '^t_[0-9a-f]{{32}}$' and datname < $1 and {unused}"
    )))
    .bind(oldest_kept)
    .fetch_all(&mut *admin)
    .await
    .expect("list what is left over");
    for name in leftovers {
        // `if exists` does not cover two processes dropping in the same instant; the loser has nothing to add.
        let _ = admin.execute(AssertSqlSafe(format!("drop database if exists {name}"))).await;
    }
    // Only on a server where we may read file times, which our private one allows.
    let old_templates = sqlx::query_scalar::<_, String>(
        "select datname::text from pg_database where datname ~ '^tpl_[0-9a-f]{16}$' and datname <> $1 and extract(epoch \
         from (pg_stat_file('base/' || oid || '/PG_VERSION')).modification)::bigint < $2",
    )
    .bind(current_template)
    .bind(i64::try_from(now - TEMPLATE_SECONDS_MAX).expect("a time in this millennium"))
    .fetch_all(&mut *admin)
    .await;
    for name in old_templates.unwrap_or_default() {
        let _ = admin.execute(AssertSqlSafe(format!("alter database {name} with is_template false"))).await;
        let _ = admin.execute(AssertSqlSafe(format!("drop database if exists {name}"))).await;
    }
}

async fn drop_database(name: &str) {
    let mut admin = connect(&options_of(server_url().await)).await;
    run(&mut admin, format!("drop database if exists {name} with (force)")).await;
    close(admin).await;
}

async fn connect(options: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(options).await.expect("connect to the tests' database server")
}

async fn run(connection: &mut PgConnection, statement: String) {
    let done = connection.execute(AssertSqlSafe(statement.clone())).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn close(connection: PgConnection) {
    // A goodbye that does not arrive changes nothing.
    let _ = tokio::time::timeout(Duration::from_secs(5), connection.close()).await;
}

fn options_of(url: &str) -> PgConnectOptions {
    url.parse().expect("the server's URL is a postgres URL")
}

/// The same server and parameters, another database.
fn with_database(url: &str, name: &str) -> String {
    let (address, parameters) = url.split_once('?').map_or((url, String::new()), |(a, p)| (a, format!("?{p}")));
    let authority_at = address.find("://").map_or(0, |at| at + "://".len());
    let server = address[authority_at..].find('/').map_or(address, |at| &address[..authority_at + at]);
    format!("{server}/{name}{parameters}")
}
