//! A real PgBouncer before the tests' Postgres.

use super::tools::tool;
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        net::UnixStream,
    },
    path::PathBuf,
    process::{Child, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// What PgBouncer must say to each new server connection, for it can't pass our session settings on.
pub(crate) const CONNECT_QUERY: &str =
    "set timezone = 'UTC'; set statement_timeout = '5s'; set lock_timeout = '2s'; set idle_in_transaction_session_timeout = '10s'";

/// Whether a client keeps its server connection, or shares it with others between transactions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PoolMode {
    Session,
    Transaction,
}

/// Runs until it is dropped.
pub(crate) struct PgBouncer {
    folder: PathBuf,
    child: Child,
}

impl PgBouncer {
    /// Before the server whose socket is in that folder. `connect_query` may be empty.
    pub(crate) fn before(socket_dir: &str, mode: PoolMode, connect_query: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("igny8-pgbouncer-{}-{number}", std::process::id()));
        // Of a process that had our number before and was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder below /tmp");
        let query =
            if connect_query.is_empty() { String::new() } else { format!(" connect_query='{}'", connect_query.replace('\'', "''")) };
        let config = folder.join("pgbouncer.ini");
        // Of transactions fewer than a test's server has connections: they have to take turns.
        let (mode, size) = match mode {
            PoolMode::Session => ("session", 40),
            PoolMode::Transaction => ("transaction", 4),
        };
        let text = format!(
            "[databases]\n* = host={socket_dir} port=5432 user=app{query}\n[pgbouncer]\npool_mode = {mode}\nlisten_addr =\nlisten_port = 5432\n\
             unix_socket_dir = {dir}\nauth_type = any\nmax_client_conn = 200\ndefault_pool_size = {size}\n\
             ignore_startup_parameters = extra_float_digits,options\nlogfile = {dir}/log\n",
            dir = folder.display()
        );
        fs::write(&config, text).expect("its settings");
        let mut command = tool("pgbouncer", "pgbouncer");
        if rustix::process::geteuid().is_root() {
            // It refuses to run as root, and only the server's own account may enter the folder of the socket.
            let owner = fs::metadata(socket_dir).expect("the server's socket");
            for path in [&folder, &config] {
                chown(path, Some(owner.uid()), Some(owner.gid())).expect("root hands it over");
            }
            command.args(["-u", &name_of(owner.uid())]);
        }
        let child = command.arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        let pgbouncer = PgBouncer { folder, child };
        for _ in 0..500 {
            if UnixStream::connect(pgbouncer.folder.join(".s.PGSQL.5432")).is_ok() {
                return pgbouncer;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("PgBouncer does not listen: {}", fs::read_to_string(pgbouncer.folder.join("log")).unwrap_or_default());
    }

    /// The URL of one database through it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://app@localhost:5432/{database}?host={}&sslmode=disable", self.folder.display())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn name_of(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").expect("a readable /etc/passwd");
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string())).expect("an account");
    line.split(':').next().unwrap_or_default().to_owned()
}
