//! A Postgres of the test's own that may be killed, copied and restored: durable, on a Unix socket, run as `postgres` or
//! `nobody` where we are root.

use std::{
    env, fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

/// Looks at a starting server before a test gives up on it, and the pause between two looks: thirty seconds.
const LOOKS_MAX: u32 = 3_000;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A folder below `/tmp` that belongs to the server's account and is gone at the end.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    account: Option<(u32, u32)>,
}

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("igny8-{name}-{}", uuid::Uuid::new_v4().simple()));
        let folder = Folder { path, account: account() };
        fs::create_dir(&folder.path).expect("a folder below /tmp");
        folder.hand_over(&folder.path);
        folder
    }

    /// A folder inside, closed to others.
    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir(&path).expect("a folder in ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("our folder");
        self.hand_over(&path);
        path
    }

    fn hand_over(&self, path: &Path) {
        if let Some((uid, gid)) = self.account {
            chown(path, Some(uid), Some(gid)).expect("root hands it over");
        }
    }

    /// A command of the server's account, with Postgres's programs in its PATH.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        let path = env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", format!("{}:{path}", bin_dir().display())).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        command.current_dir(&self.path).stdin(Stdio::null());
        command
    }

    /// Runs one of Postgres's programs, which must succeed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        succeeded(self.command(bin_dir().join(program)).args(arguments).output().expect("it runs"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// What it printed; fails with what it complained of.
pub(crate) fn succeeded(output: Output) -> String {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {told}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server on a data folder.
pub(crate) struct Cluster {
    pub(crate) data: PathBuf,
    pub(crate) socket: PathBuf,
    settings: Vec<String>,
    postgres: Option<Child>,
}

impl Cluster {
    /// A new cluster, running; `settings` as `name=value`.
    pub(crate) fn new(folder: &Folder, name: &str, settings: &[&str]) -> Self {
        let data = folder.inside(name);
        let path = data.to_str().expect("a plain name");
        folder.run("initdb", &["-D", path, "-U", "app", "-E", "UTF8", "--auth-local=trust", "--auth-host=reject", "--no-sync"]);
        Self::of(folder, data, settings)
    }

    /// Runs the cluster that is in a folder already.
    pub(crate) fn of(folder: &Folder, data: PathBuf, settings: &[&str]) -> Self {
        let socket = data.with_extension("run");
        let name = socket.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned();
        let socket = folder.inside(&name);
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Cluster { data, socket, settings, postgres: None };
        cluster.start(folder);
        cluster
    }

    /// Starts it, as a supervisor would: again, while what is left of the one before is in the way.
    pub(crate) fn start(&mut self, folder: &Folder) {
        for _ in 0..LOOKS_MAX {
            if self.is_ready(folder) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        panic!("Postgres is not ready in time: {}", fs::read_to_string(self.log()).unwrap_or_default());
    }

    fn is_ready(&mut self, folder: &Folder) -> bool {
        let has_ended = self.postgres.as_mut().is_none_or(|child| child.try_wait().expect("our child").is_some());
        if has_ended {
            let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
            let mut command = folder.command(bin_dir().join("postgres"));
            command.arg("-D").arg(&self.data).arg("-k").arg(&self.socket).args(["-c", "listen_addresses=", "-c", "timezone=UTC"]);
            command.args(self.settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
            self.postgres = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("postgres runs"));
        }
        let status = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = status.lines();
        let is_ours = lines.next().and_then(|pid| pid.trim().parse().ok()) == self.postgres.as_ref().map(Child::id);
        is_ours && lines.nth(6).is_some_and(|line| line.trim() == "ready") && UnixStream::connect(self.socket.join(".s.PGSQL.5432")).is_ok()
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// What it has told so far.
    pub(crate) fn told(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut postgres = self.postgres.take().expect("it runs");
        postgres.kill().expect("our child");
        postgres.wait().expect("our child");
    }

    /// The URL of one database, as the cluster's owner.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://app@localhost:5432/{database}?host={}&sslmode=disable", self.socket.display())
    }

    /// Runs a statement by `psql`; what it gives.
    pub(crate) fn sql(&self, folder: &Folder, database: &str, statement: &str) -> String {
        let socket = self.socket.to_str().expect("a plain name");
        folder.run("psql", &["-h", socket, "-U", "app", "-d", database, "-v", "ON_ERROR_STOP=1", "-Atqc", statement]).trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut postgres) = self.postgres.take() {
            let _ = postgres.kill();
            let _ = postgres.wait();
        }
    }
}

/// `PG_BIN_DIR`, else the newest of Debian's, else where `pg_config` says.
pub(crate) fn bin_dir() -> PathBuf {
    if let Some(dir) = env::var_os("PG_BIN_DIR").filter(|dir| !dir.is_empty()) {
        return PathBuf::from(dir);
    }
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let newest = installed.filter(|bin| bin.join("initdb").is_file()).max();
    newest.unwrap_or_else(|| {
        let asked = Command::new("pg_config").arg("--bindir").output().expect("install postgresql, or set PG_BIN_DIR to its programs");
        PathBuf::from(String::from_utf8_lossy(&asked.stdout).trim())
    })
}

/// Whom root runs Postgres as: it refuses to run as root.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("a readable /etc/passwd");
    let named = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    Some(named("postgres").or_else(|| named("nobody")).expect("an account that is not root"))
}
