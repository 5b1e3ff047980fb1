//! The program as a process: what it prints, how it ends, and that it ends well.

#![allow(clippy::disallowed_methods, reason = "a test looks at its own environment and makes its own names")]

#[path = "support/database.rs"]
mod database;

use igny8::build_info::BUILD;
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use database::TestDatabase;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::{Connection as _, Executor as _, PgConnection, raw_sql};

/// The program in an empty environment and a directory of its own.
struct Program {
    dir: PathBuf,
    variables: Vec<(String, String)>,
}

impl Program {
    fn new() -> Self {
        let dir = env::temp_dir().join(format!("igny8-cli-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&dir).expect("a directory");
        Program { dir, variables: Vec::new() }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igny8"));
        command.args(arguments).current_dir(&self.dir).env_clear().stdin(Stdio::null());
        for name in ["PATH", "HOME", "PG_BIN_DIR"] {
            if let Some(value) = env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("it runs");
        Ended {
            code: status.code(),
            said: String::from_utf8_lossy(&stdout).into_owned(),
            complained: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    said: String,
    complained: String,
}

impl Ended {
    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.complained.contains("panicked") && !self.complained.contains("stack backtrace"), "{self:?}");
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.said).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A server that runs until it is told to stop.
struct Serving {
    child: Child,
    facts: Value,
}

impl Serving {
    fn start(program: &Program) -> Self {
        let mut child = program.command(&["serve", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut text = String::new();
        while let Some(Ok(line)) = lines.next() {
            text.push_str(&line);
            if line == "}" {
                return Serving { facts: serde_json::from_str(&text).expect("JSON"), child };
            }
        }
        let mut complaint = String::new();
        child.stderr.take().expect("its errors").read_to_string(&mut complaint).expect("text");
        let code = child.wait().expect("it ends").code();
        panic!("it did not start but ended with {code:?}: {complaint}");
    }

    fn stop(mut self) -> (Option<i32>, String) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("it lives");
        let code = self.child.wait().expect("it ends").code();
        let mut complaint = String::new();
        self.child.stderr.take().expect("its errors").read_to_string(&mut complaint).expect("text");
        (code, complaint)
    }
}

/// A port that nobody listened on a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string()
}

async fn execute(url: &str, statement: &'static str) {
    let mut connection = PgConnection::connect(url).await.expect("connect");
    connection.execute(raw_sql(statement)).await.expect("execute");
    connection.close().await.expect("close");
}

#[test]
fn the_version_tells_commit_and_build_time() {
    let program = Program::new();

    let text = program.run(&["--version"]).expect(0);
    let json = program.run(&["-V", "--json"]).expect(0).json();

    assert!(text.said.starts_with("igny8 0.") && text.said.contains("(commit ") && text.said.contains(", built "), "{text:?}");
    assert!(json["commit"].is_string() && json["built_at"].is_string(), "{json}");
}

#[test]
fn the_help_tells_the_exit_codes_and_a_wrong_command_ends_with_2() {
    let program = Program::new();

    let help = program.run(&["--help"]).expect(0);
    program.run(&["frobnicate"]).expect(2);
    program.run(&["create-admin", "--email", "a@example.com"]).expect(2);

    assert!(help.said.contains("Exit codes:") && help.said.contains("3  `verify`"), "{}", help.said);
}

#[test]
fn the_configurations_errors_are_told_all_at_once_and_end_with_2() {
    let program = Program::new()
        .with("TRIAL_DAYS", "none")
        .with("IGNY8_MODE", "fast")
        .with("APP_ENV", "production")
        .with("THROTTLE_DISABLED", "true");

    let ended = program.run(&["serve"]).expect(2);

    for name in ["TRIAL_DAYS", "IGNY8_MODE", "THROTTLE_DISABLED", "JWT_SECRET_KEY"] {
        assert!(ended.complained.contains(name), "{name} in {}", ended.complained);
    }
}

#[test]
fn what_is_in_the_way_is_told_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let cases = [
        (Program::new().with("BIND_ADDR", address), "serve", 1, "is in use by another program"),
        (Program::new().with("DATABASE_URL", "garbage"), "state", 2, "DATABASE_URL is no Postgres URL"),
        (Program::new().with("DATABASE_URL", "postgres://u:planted@127.0.0.1:1/x"), "verify", 1, "can't connect to the database"),
        (Program::new().with("PG_BIN_DIR", "/nowhere"), "migrate", 2, "PG_BIN_DIR /nowhere"),
        (Program::new().with("LOG_LEVEL", "loud"), "state", 2, "LOG_LEVEL: 'loud'"),
        (Program::new().with("BIND_ADDR", free_address()), "healthcheck", 1, "nothing answers on"),
    ];

    for (program, command, code, words) in cases {
        let text = program.run(&[command]).expect(code);
        let json = program.run(&[command, "--json"]).expect(code);

        assert!(text.complained.contains(words) && text.complained.lines().count() == 1, "{text:?}");
        assert!(!text.complained.contains("planted"), "{text:?}");
        let error: Value = serde_json::from_str(&json.complained).expect("JSON");
        assert!(error["error"].as_str().expect("a sentence").contains(words), "{error}");
    }
}

#[test]
fn document_and_routes_need_neither_settings_nor_database() {
    let program = Program::new().with("APP_ENV", "nonsense");

    let document = program.run(&["openapi"]).expect(0).json();
    let routes = program.run(&["routes", "--json"]).expect(0).json();
    let table = program.run(&["routes"]).expect(0).said;

    assert_eq!(document["openapi"], "3.1.0");
    let listed = routes.as_array().expect("a list");
    let documented: usize =
        document["paths"].as_object().expect("paths").values().map(|item| item.as_object().expect("methods").len()).sum();
    assert_eq!(listed.len(), documented);
    assert!(listed.iter().any(|route| route["path"] == "/api/v1/system/status/" && route["door"] == "open"), "{table}");
    assert!(table.lines().count() == documented + 1, "{table}");
}

#[tokio::test]
async fn verify_ends_with_3_when_a_law_is_broken() {
    let database = TestDatabase::new().await;
    let program = Program::new().with("DATABASE_URL", database.url());

    let sound = program.run(&["verify", "--json"]).expect(0).json();
    execute(
        database.url(),
        "insert into accounts (account_id, name, slug, status, created_at, updated_at) values (29, 'Lonely', 'lonely', 'trial', '2026-03-01Z', '2026-03-01Z')",
    )
    .await;
    let broken = program.run(&["verify", "--json"]).expect(3).json();
    let table = program.run(&["verify"]).expect(3).said;
    let state = program.run(&["state", "--json"]).expect(3).json();

    assert_eq!((&sound["ok"], sound["violations"].as_array().map(Vec::len)), (&Value::Bool(true), Some(0)));
    assert!(
        broken["violations"].as_array().expect("a list").iter().any(|violation| violation["law"] == "I8" && violation["account"] == 29),
        "{broken}"
    );
    assert!(table.contains("it has no owner"), "{table}");
    assert_eq!((&state["counts"]["accounts"], &state["accounts"][0]["slug"]), (&Value::from(1), &Value::from("lonely")));
    database.close().await;
}

#[tokio::test]
async fn seeding_again_adds_what_is_missing_and_changes_nothing_else() {
    let database = TestDatabase::new().await;
    let program = Program::new().with("DATABASE_URL", database.url());
    execute(database.url(), "delete from plans where slug = 'scale'; update plans set price = 95 where slug = 'starter'").await;

    let first = program.run(&["seed-plans", "--json"]).expect(0).json();
    let second = program.run(&["seed-plans", "--json"]).expect(0).json();
    let state = program.run(&["state", "--json"]).expect(0).json();

    assert_eq!((&first["added"], &second["added"]), (&Value::from(1), &Value::from(0)));
    let plans = state["plans"].as_array().expect("plans");
    assert_eq!(plans.len(), 6);
    assert!(plans.iter().any(|plan| plan["slug"] == "starter" && plan["price"] == "95.00"), "{state}");
    database.close().await;
}

#[tokio::test]
async fn production_refuses_an_old_schema_until_it_is_migrated_and_everybody_a_newer_one() {
    let database = TestDatabase::new().await;
    let secret = "production-secret-production-secret-production";
    let production = Program::new()
        .with("DATABASE_URL", database.url())
        .with("APP_ENV", "production")
        .with("JWT_SECRET_KEY", secret)
        .with("BIND_ADDR", free_address());
    execute(database.url(), "drop schema public cascade; create schema public").await;

    let refused = production.run(&["serve"]).expect(1);
    let migrated = production.run(&["migrate", "--json"]).expect(0).json();
    let again = production.run(&["migrate", "--json"]).expect(0).json();
    let serving = Serving::start(&production);
    let ready = production.run(&["healthcheck"]).expect(0);
    let (code, log) = serving.stop();
    execute(
        database.url(),
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) values (9999, 'later', true, '\\x00', 0)",
    )
    .await;
    let newer = production.run(&["serve"]).expect(1);
    let newer_elsewhere = Program::new().with("DATABASE_URL", database.url()).with("BIND_ADDR", free_address()).run(&["serve"]).expect(1);

    assert!(refused.complained.contains("run `igny8 migrate`"), "{refused:?}");
    assert!(migrated["applied"].as_u64().expect("a count") >= 9 && again["applied"] == 0, "{migrated} {again}");
    assert!(ready.said.contains("is ready"), "{ready:?}");
    assert_eq!(code, Some(0), "{log}");
    assert!(
        newer.complained.contains("newer than this program") && newer_elsewhere.complained.contains("newer than this program"),
        "{newer:?} {newer_elsewhere:?}"
    );
    database.close().await;
}

#[tokio::test]
async fn the_applications_user_gets_no_ddl_where_two_urls_are_given() {
    let database = TestDatabase::new().await;
    let role = format!("r_{}", uuid::Uuid::new_v4().simple());
    let mut owner = PgConnection::connect(database.url()).await.expect("connect");
    owner
        .execute(raw_sql(sqlx::AssertSqlSafe(format!(
            "drop schema public cascade; create schema public; create role {role} login password 'x'"
        ))))
        .await
        .expect("a role");
    let application = with_user(database.url(), &role);
    let program = Program::new().with("DATABASE_URL", &application).with("DATABASE_MIGRATE_URL", database.url());

    program.run(&["migrate"]).expect(0);

    let rights: Vec<bool> = sqlx::query_scalar(
        "select unnest(array[has_table_privilege($1, 'credit_transactions', 'insert'), has_table_privilege($1, 'credit_transactions', 'update'),
                             has_table_privilege($1, 'audit_log', 'delete'), has_table_privilege($1, 'plans', 'update'), has_schema_privilege($1, 'public', 'create')])",
    )
    .bind(&role)
    .fetch_all(&mut owner)
    .await
    .expect("its rights");
    assert_eq!(rights, [true, false, false, true, false]);
    owner.execute(raw_sql(sqlx::AssertSqlSafe(format!("drop owned by {role}; drop role {role}")))).await.expect("cleared");
    owner.close().await.expect("closed");
    database.close().await;
}

#[tokio::test]
async fn migrations_lead_past_a_pooler_that_lends_sessions_for_a_transaction() {
    let database = TestDatabase::new().await;
    let pooled = || Program::new().with("DATABASE_URL", database.url()).with("DATABASE_POOLER", "transaction");

    let refused = pooled().run(&["migrate"]).expect(2);
    let migrated = pooled().with("DATABASE_MIGRATE_URL", database.url()).run(&["migrate", "--json"]).expect(0).json();
    let verified = pooled().with("DATABASE_MIGRATE_URL", database.url()).run(&["verify"]).expect(0);
    let alone = Program::new().with("DATABASE_POOLER", "transaction").run(&["verify"]).expect(2);

    assert!(refused.complained.contains("DATABASE_MIGRATE_URL: required beside DATABASE_POOLER=transaction"), "{refused:?}");
    assert_eq!(migrated["applied"], 0, "{verified:?}");
    assert!(alone.complained.contains("DATABASE_POOLER: transaction means nothing without DATABASE_URL"), "{alone:?}");
    database.close().await;
}

fn with_user(url: &str, user: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (_, host) = rest.split_once('@').expect("a user");
    format!("{scheme}://{user}:x@{host}")
}

#[test]
fn without_any_setting_it_starts_its_own_postgres_and_stops_both_when_asked() {
    let program = Program::new().with("BIND_ADDR", free_address());

    let first = Serving::start(&program);
    let beside = program.run(&["state", "--json"]).expect(0).json();
    let (first_start, secret) = (first.facts["first_start"].clone(), fs::read(program.dir.join(".data/jwt_secret")).expect("a secret"));
    let (first_code, first_log) = first.stop();
    let second = Serving::start(&program);
    let (second_start, second_secret) =
        (second.facts["first_start"].clone(), fs::read(program.dir.join(".data/jwt_secret")).expect("a secret"));
    let (second_code, _) = second.stop();

    assert_eq!((first_start, second_start), (Value::Bool(true), Value::Bool(false)));
    assert_eq!((first_code, second_code), (Some(0), Some(0)), "{first_log}");
    assert_eq!(beside["plans"].as_array().map(Vec::len), Some(6));
    assert!(secret.len() >= 32 && secret == second_secret);
    assert!(!first_log.contains(&*String::from_utf8_lossy(&secret)), "the secret is in the log");
    let build = [format!("commit=\"{}\"", BUILD.commit), format!("dirty={}", BUILD.dirty), format!("built_at=\"{}\"", BUILD.built_at)];
    assert!(build.iter().all(|part| first_log.contains(part)), "which build serves is not in the log: {first_log}");
}

#[test]
fn a_command_runs_with_a_migrated_database_that_is_gone_afterwards() {
    let program = Program::new();

    let ended = program.run(&["db", "run", "--", "sh", "-c", "echo \"$DATABASE_URL\"; exit 7"]).expect(7);
    let nested = program.run(&["db", "run", "--", env!("CARGO_BIN_EXE_igny8"), "verify", "--json"]).expect(0).json();
    program.run(&["db", "run", "--", "/nowhere/command"]).expect(2);

    let url = ended.said.trim();
    let socket = url.split("host=").nth(1).and_then(|rest| rest.split('&').next()).expect("a socket");
    assert!(!PathBuf::from(socket).exists(), "{url}");
    assert_eq!(nested["ok"], Value::Bool(true));
}

#[test]
fn no_process_is_left_when_db_run_is_told_to_stop() {
    let program = Program::new();
    let script = "echo $$; exec sleep 60";
    let mut command = program.command(&["db", "run", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let pid = lines.next().expect("a line").expect("text");

    kill_process(Pid::from_child(&child), Signal::TERM).expect("it lives");
    let code = child.wait().expect("it ends").code();

    assert_eq!(code, Some(128 + 9));
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists(), "the command still runs");
    assert!(lines.next().is_none(), "somebody still holds its output");
}
