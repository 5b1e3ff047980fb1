//! The server process of one cluster: finding it and launching it.
//!
//! Who is alive is asked of the kernel, never of a pid file. Every server process inherits a locked file as its standard
//! input, the watchdog another; a lock that can be taken proves that nobody of them is left, also after `kill -9`, with
//! pids used again, or from another container on the same volume.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Instant,
};

use rustix::process::geteuid;

use super::{
    Durability, POLL, StartReport, binaries,
    error::{Doing, EmbeddedError},
    instant,
    place::{Place, SOCKET_NAME, command_as},
};

/// The server's log is set aside when it has grown beyond this.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Lines of the log that an error quotes.
const LOG_LINES_QUOTED: usize = 4;

/// Settings of every cluster. No TCP, and no clock but UTC.
const ALWAYS: [&str; 6] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "logging_collector=off",
    "log_destination=stderr",
    "timezone=UTC",
    "log_timezone=UTC",
];
const DURABLE: [&str; 2] = ["max_connections=200", "shared_buffers=128MB"];
const DISPOSABLE: [&str; 5] =
    ["max_connections=300", "shared_buffers=256MB", "fsync=off", "synchronous_commit=off", "full_page_writes=off"];

/// What runs on the cluster right now.
pub(super) enum Found {
    /// Nothing. Holding the lock keeps it so.
    Nothing(File),
    /// A server that is watched; we hold it from here on.
    Watched(File),
    /// A ready server whose watchdog was killed; its pid.
    Unwatched(u32),
}

/// One cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) place: Place,
    pub(super) durability: Durability,
}

impl Cluster {
    /// Finds out what runs. Waits while a server is on its way up or down. Only for the holder of `start.lock`.
    pub(super) fn find(&self, deadline: Instant) -> Result<Found, EmbeddedError> {
        loop {
            if let Some(lock) = self.lock("server.lock")? {
                return Ok(Found::Nothing(lock));
            }
            if self.is_ready() {
                if self.lock("watchdog.lock")?.is_none() {
                    if let Some(hold) = self.join(deadline)? {
                        return Ok(Found::Watched(hold));
                    }
                } else if let Some(pid) = self.pid() {
                    return Ok(Found::Unwatched(pid));
                }
            }
            if instant() >= deadline {
                return Err(EmbeddedError::Start("a server on this directory is neither ready nor gone".to_owned()));
            }
            thread::sleep(POLL);
        }
    }

    /// True when no process of the server is left.
    pub(super) fn is_down(&self) -> bool {
        // Shared, so that two who wait for the end do not take each other for the server.
        self.place.open("server.lock").is_ok_and(|file| file.try_lock_shared().is_ok())
    }

    /// Starts the server, with a new cluster if there is none, and gives its pid when it is ready.
    pub(super) fn launch(
        &self,
        lock: File,
        bin_dir: Option<&Path>,
        deadline: Instant,
        report: &mut StartReport,
    ) -> Result<u32, EmbeddedError> {
        let made_by = fs::read_to_string(self.data().join("PG_VERSION")).ok().and_then(|text| text.trim().parse().ok());
        let server = binaries::find(made_by, bin_dir, self.place.account)?;
        if made_by.is_none() {
            let began = instant();
            self.initdb(&server)?;
            report.initdb = Some(began.elapsed());
        }
        let socket = self.place.socket_dir.join(SOCKET_NAME);
        for stale in [self.pid_file(), socket.with_extension("5432.lock"), socket] {
            match fs::remove_file(&stale) {
                Ok(()) => report.removed_stale_pid = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).doing(|| format!("remove {}", stale.display())),
            }
        }
        let began = instant();
        let log = self.open_log()?;
        let mut command = command_as(self.place.account, server.dir.join("postgres"));
        command.env("LC_ALL", locale()).arg("-D").arg(self.data()).arg("-k").arg(&self.place.socket_dir);
        let more: &[&str] = match self.durability {
            Durability::Durable => &DURABLE,
            Durability::Disposable => &DISPOSABLE,
        };
        command.args(["-p", "5432"]).args(ALWAYS.iter().chain(more).flat_map(|setting| ["-c", setting]));
        let postgres = command.stdin(lock).stderr(log).spawn().doing(|| "run postgres".to_owned())?;
        let pid = postgres.id();
        self.await_ready(postgres, deadline)?;
        report.launch = Some(began.elapsed());
        report.bin_dir = Some(server.dir);
        Ok(pid)
    }

    fn initdb(&self, server: &binaries::Server) -> Result<(), EmbeddedError> {
        // Made beside its place and then renamed: a half-made cluster never looks finished.
        let unfinished = self.place.base.join("data.new");
        let clear = || {
            fs::remove_dir_all(&unfinished).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
        };
        clear().doing(|| format!("remove {}", unfinished.display()))?;
        let mut command = command_as(self.place.account, server.dir.join("initdb"));
        command.env("LC_ALL", locale()).arg("-D").arg(&unfinished).arg(format!("--locale={}", locale()));
        command.args(["-U", "app", "-E", "UTF8", "--auth-local=trust", "--auth-host=reject"]);
        if cfg!(target_os = "macos") && server.major >= 17 {
            // There the system has no C.UTF-8, but from 17 on Postgres brings its own.
            command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        }
        if self.durability == Durability::Disposable {
            command.arg("--no-sync");
        }
        let output = command.stderr(Stdio::piped()).output().doing(|| "run initdb".to_owned())?;
        if !output.status.success() {
            // Best effort: the error below says more than a failure to clear up would, and the next start clears too.
            let _ = clear();
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(if words.contains("could not look up effective user ID") {
                EmbeddedError::UnknownUid(self.place.account.map_or(geteuid().as_raw(), |account| account.uid))
            } else {
                EmbeddedError::Initdb(words)
            });
        }
        fs::rename(&unfinished, self.data()).doing(|| "put the new cluster into its place".to_owned())
    }

    fn await_ready(&self, mut postgres: Child, deadline: Instant) -> Result<(), EmbeddedError> {
        while !self.is_ready() {
            if let Some(status) = postgres.try_wait().doing(|| "wait for postgres".to_owned())? {
                return Err(EmbeddedError::Start(format!("{status}; {}", self.end_of_log())));
            }
            if instant() >= deadline {
                // It may have ended by itself in this moment; either way it is over.
                let _ = postgres.kill();
                let _ = postgres.wait();
                return Err(EmbeddedError::Start(format!("not ready in time; {}", self.end_of_log())));
            }
            thread::sleep(POLL);
        }
        reap(postgres);
        Ok(())
    }

    /// The status line of the pid file, which is how `pg_ctl` knows, and a socket that answers.
    fn is_ready(&self) -> bool {
        let status = fs::read_to_string(self.pid_file());
        status.is_ok_and(|text| text.lines().nth(7).is_some_and(|line| line.trim() == "ready"))
            && UnixStream::connect(self.place.socket_dir.join(SOCKET_NAME)).is_ok()
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.pid_file()).ok()?.lines().next()?.trim().parse().ok()
    }

    /// The lock, or `None` when a living process has it.
    pub(super) fn lock(&self, name: &str) -> Result<Option<File>, EmbeddedError> {
        let file = self.place.open(name)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).doing(|| format!("lock {name}")),
        }
    }

    fn open_log(&self) -> Result<File, EmbeddedError> {
        let path = self.place.base.join("log");
        if fs::symlink_metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.place.base.join("log.old")).doing(|| "set the old log aside".to_owned())?;
        }
        self.place.open("log")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(self.place.base.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut last: Vec<_> = log.lines().rev().take(LOG_LINES_QUOTED).collect();
        last.reverse();
        last.join(" | ")
    }

    fn data(&self) -> PathBuf {
        self.place.base.join("data")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.data().join("postmaster.pid")
    }
}

/// Waits for a child in the background, because Postgres takes a zombie for a live holder of its pid file.
pub(super) fn reap(mut child: Child) {
    // Without a thread the child stays a zombie until we end; nothing else is lost.
    let _ = thread::Builder::new().name("reaper".to_owned()).spawn(move || child.wait());
}

/// Sorted by code point, lower and upper case known beyond ASCII.
fn locale() -> &'static str {
    if cfg!(target_os = "macos") { "C" } else { "C.UTF-8" }
}
