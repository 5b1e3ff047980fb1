//! The private Postgres that serves when `DATABASE_URL` is unset: one cluster per data directory, shared by every
//! process that uses the directory, gone when the last of them is gone, however it went.
//!
//! No port, no password, no download behind anybody's back: a Unix socket in a directory closed to other accounts.

mod binaries;
mod error;
mod fetch;
mod pinned;
mod place;
mod server;
mod watchdog;

use std::{
    fmt::Write as _,
    fs::File,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

pub use self::{binaries::cache_dir, error::EmbeddedError, fetch::fetch};
use self::{
    error::Doing,
    place::Place,
    server::{Cluster, Found},
};

/// How long a start may take, recovery after a crash and waiting for other starters included.
const START_SECONDS_MAX: u64 = 60;

/// What a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed: for the application.
    Durable,
    /// Everything: for tests, which want it fast.
    Disposable,
}

/// Which cluster, and with which server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The application's data directory; the cluster takes `postgres` inside it and touches nothing else.
    pub data_dir: PathBuf,
    /// `PG_BIN_DIR`: when set, the only place where a server is looked for.
    pub bin_dir: Option<PathBuf>,
    /// What a crash may cost. Counts for the process that starts the server; whoever joins takes it as it is.
    pub durability: Durability,
}

/// What [`PrivatePostgres::start`] found and did.
#[derive(Debug, Clone, Default)]
pub struct StartReport {
    /// Another process runs the server, and we share it.
    pub joined: bool,
    /// The server ran with nobody to end it, and we took it over.
    pub adopted: bool,
    /// An earlier server died without clearing up, and we did that for it.
    pub removed_stale_pid: bool,
    /// How long making the cluster took, on its very first start.
    pub initdb: Option<Duration>,
    /// How long the server took to become ready, when it was started here.
    pub launch: Option<Duration>,
    /// How long it took altogether.
    pub total: Duration,
    /// Where the server's binaries are, when it was started here.
    pub bin_dir: Option<PathBuf>,
    /// Where the cluster lives instead, when the server's account cannot enter the data directory. The same in every
    /// run. Worth telling the operator.
    pub fallback_dir: Option<PathBuf>,
}

/// A hold on the server of one data directory. The server runs while any process has one; dropping it lets go.
#[derive(Debug)]
pub struct PrivatePostgres {
    cluster: Cluster,
    report: StartReport,
    // The writing end of a FIFO. The kernel closes it when we die, and the watchdog at its other end notices.
    hold: File,
}

/// How [`PrivatePostgres::stop`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// No process of the server is left.
    Down,
    /// It still runs: another process holds it, or it needs longer than the limit.
    StillUsed,
}

impl PrivatePostgres {
    /// Joins the server of this data directory, or starts it, making the cluster first if there is none.
    ///
    /// Blocks up to a minute: call it outside the async threads.
    ///
    /// # Errors
    ///
    /// Each [`EmbeddedError`] says what is in the way and what helps.
    pub fn start(settings: &Settings) -> Result<Self, EmbeddedError> {
        let began = instant();
        let deadline = began + Duration::from_secs(START_SECONDS_MAX);
        let place = Place::prepare(&settings.data_dir, settings.durability)?;
        let mut report = StartReport { fallback_dir: place.is_fallback.then(|| place.base.clone()), ..StartReport::default() };
        let cluster = Cluster { place, durability: settings.durability };

        // One starter at a time; the lock falls with the file, also when we are killed.
        let starting = cluster.place.open("start.lock")?;
        starting.lock().doing(|| "lock start.lock".to_owned())?;
        let hold = match cluster.find(deadline)? {
            Found::Watched(hold) => {
                report.joined = true;
                hold
            }
            Found::Unwatched(pid) => {
                report.adopted = true;
                cluster.watch(pid, deadline)?
            }
            Found::Nothing(lock) => {
                let pid = cluster.launch(lock, settings.bin_dir.as_deref(), deadline, &mut report)?;
                cluster.watch(pid, deadline)?
            }
        };
        report.total = began.elapsed();
        Ok(Self { cluster, report, hold })
    }

    /// The URL of one database on this server. Contains no secret: the socket's directory is closed to others.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let host = percent_encoded(self.socket_dir().to_string_lossy().as_bytes());
        let database = percent_encoded(database.as_bytes());
        // No encryption is asked for, because the server has none: it would cost a round trip to hear that.
        format!("postgres://app@localhost:5432/{database}?host={host}&sslmode=disable")
    }

    /// The directory of the server's socket.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.cluster.place.socket_dir
    }

    /// What the start found and did.
    #[must_use]
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// Lets go, then waits until the server is down, at most `limit`.
    ///
    /// A container's first process must wait like this before it ends: its end kills everything else. Others may
    /// simply drop. While another process uses the server the whole limit passes.
    #[must_use]
    pub fn stop(self, limit: Duration) -> Stopped {
        let Self { cluster, hold, .. } = self;
        drop(hold);
        let deadline = instant() + limit;
        loop {
            if cluster.is_down() {
                return Stopped::Down;
            }
            if instant() >= deadline {
                return Stopped::StillUsed;
            }
            thread::sleep(POLL);
        }
    }
}

/// Pause between two looks at another process.
const POLL: Duration = Duration::from_millis(5);

/// Readings for deadlines and durations.
#[allow(clippy::disallowed_methods, reason = "how long a process takes is real time, never the application's clock")]
fn instant() -> Instant {
    Instant::now()
}

/// Escapes everything that has a meaning in a URL.
fn percent_encoded(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' => text.push(char::from(byte)),
            // Writing into a String cannot fail.
            _ => _ = write!(text, "%{byte:02X}"),
        }
        text
    })
}
