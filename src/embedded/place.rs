//! Where the cluster lives and whom it belongs to.
//!
//! Everything stays inside one directory that carries our marker; the caller's data directory itself is never touched.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{fs::OFlags, process::geteuid};
use sha2::{Digest, Sha256};

use super::{
    Durability,
    error::{Doing, EmbeddedError},
};

/// Shows that a directory is ours. Always the first file in it, so that "not empty, no marker" means foreign.
const MARKER: &str = ".igny8-postgres";
/// Bytes of a socket's path that every system takes: macOS has room for 103 and the closing zero.
const SOCKET_PATH_BYTES_MAX: usize = 103;
/// What Postgres calls its socket on our port.
pub(super) const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// The unprivileged account that the server runs as when we are root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// `postgres`, else `nobody`; `None` when we are not root and simply stay who we are.
    pub(super) fn to_drop_to() -> Result<Option<Self>, EmbeddedError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").doing(|| "read /etc/passwd".to_owned())?;
        let named = |name: &str| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let (found, _password) = (fields.next()?, fields.next()?);
                let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
                (found == name && uid != 0).then_some(Self { uid, gid })
            })
        };
        named("postgres").or_else(|| named("nobody")).map(Some).ok_or(EmbeddedError::NoAccount)
    }

    /// The owner of an existing directory, unless that is root: root serves a user's cluster as that user.
    fn owning(dir: &Path) -> Option<Self> {
        let of = fs::metadata(dir).ok()?;
        (of.uid() != 0).then_some(Self { uid: of.uid(), gid: of.gid() })
    }

    /// The first directory above `path` that this account cannot enter.
    pub(super) fn stopped_by(self, path: &Path) -> Option<PathBuf> {
        let closed = |dir: &&Path| {
            fs::metadata(dir).is_ok_and(|of| {
                let bit = match (of.uid() == self.uid, of.gid() == self.gid) {
                    (true, _) => 0o100,
                    (false, true) => 0o010,
                    (false, false) => 0o001,
                };
                of.mode() & bit == 0
            })
        };
        path.ancestors().skip(1).find(closed).map(Path::to_path_buf)
    }
}

/// A command of the server's account, free of our terminal, our directory and everybody's `PG…` variables.
pub(super) fn command_as(account: Option<Account>, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some(Account { uid, gid }) = account {
        // With the uid set, std also clears the supplementary groups.
        command.uid(uid).gid(gid);
    }
    for name in postgres_variables() {
        command.env_remove(name);
    }
    // A group of its own: Ctrl-C in the terminal must not stop the server under a draining application.
    command.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "not read, only kept from the child: they would redirect the server")]
fn postgres_variables() -> impl Iterator<Item = OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(|name| name.as_bytes().starts_with(b"PG"))
}

/// The directories of one cluster, made, marked and owned by the right account.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) base: PathBuf,
    pub(super) socket_dir: PathBuf,
    pub(super) account: Option<Account>,
    pub(super) is_fallback: bool,
}

impl Place {
    /// Decides on `<data_dir>/postgres`, or root's fallback, and prepares it.
    pub(super) fn prepare(data_dir: &Path, durability: Durability) -> Result<Self, EmbeddedError> {
        fs::create_dir_all(data_dir).doing(|| format!("create {}", data_dir.display()))?;
        let data_dir = data_dir.canonicalize().doing(|| format!("resolve {}", data_dir.display()))?;
        let wanted = data_dir.join("postgres");
        let wanted = wanted.canonicalize().unwrap_or(wanted);
        let (base, account) = match Account::to_drop_to()? {
            None => (wanted.clone(), None),
            Some(usual) => choose_as_root(&wanted, usual, durability)?,
        };
        claim(&base)?;
        own(&base, account)?;
        let socket_dir = socket_dir(&base);
        make_dir(&socket_dir)?;
        own(&socket_dir, account)?;
        Ok(Self { is_fallback: base != wanted, base, socket_dir, account })
    }

    /// Opens or creates a file of ours, belonging to the server's account, never through a link.
    pub(super) fn open(&self, name: &str) -> Result<File, EmbeddedError> {
        let path = self.base.join(name);
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .doing(|| format!("open {}", path.display()))?;
        if let Some(Account { uid, gid }) = self.account {
            fchown(&file, Some(uid), Some(gid)).doing(|| format!("hand over {}", path.display()))?;
        }
        Ok(file)
    }
}

/// A directory where a cluster was already made stays the choice, whatever the permissions around it have become: a
/// switch would look like lost data. Disposable data cannot be missed, so there what works comes first.
fn choose_as_root(wanted: &Path, usual: Account, durability: Durability) -> Result<(PathBuf, Option<Account>), EmbeddedError> {
    let elsewhere = PathBuf::from(format!("/var/lib/igny8-{}", short_hash(wanted)));
    let account_of = |dir: &Path| Account::owning(dir).unwrap_or(usual);
    let base = if durability == Durability::Durable && holds_cluster(wanted) {
        wanted.to_path_buf()
    } else if holds_cluster(&elsewhere) || account_of(wanted).stopped_by(wanted).is_some() {
        elsewhere
    } else {
        wanted.to_path_buf()
    };
    let account = account_of(&base);
    match account.stopped_by(&base) {
        Some(dir) => Err(EmbeddedError::Unreachable { dir, uid: account.uid }),
        None => Ok((base, Some(account))),
    }
}

fn holds_cluster(base: &Path) -> bool {
    base.join(MARKER).exists() && base.join("data/PG_VERSION").exists()
}

/// Makes the directory ours, or refuses before changing anything about it.
fn claim(base: &Path) -> Result<(), EmbeddedError> {
    make_dir(base)?;
    let marker = base.join(MARKER);
    let owner = fs::metadata(base).doing(|| format!("look at {}", base.display()))?.uid();
    if !geteuid().is_root() && owner != geteuid().as_raw() {
        return Err(EmbeddedError::OtherOwner { dir: base.to_path_buf(), owner });
    }
    if marker.exists() {
        return Ok(());
    }
    let is_empty = fs::read_dir(base).doing(|| format!("list {}", base.display()))?.next().is_none();
    // Asked again: another process may have marked the directory between the two looks.
    if !is_empty && !marker.exists() {
        return Err(EmbeddedError::NotOurs(base.to_path_buf()));
    }
    fs::write(&marker, "A private PostgreSQL cluster of IGNY8. Delete the whole directory or nothing.\n")
        .doing(|| format!("write {}", marker.display()))
}

/// Creates the directory closed to others; one that exists is left alone.
fn make_dir(dir: &Path) -> Result<(), EmbeddedError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
    .doing(|| format!("create {}", dir.display()))
}

/// Gives the directory to the account and closes it to others. Works on the opened directory, so that no link swapped
/// in by another account can redirect it, and refuses one that a stranger made first.
fn own(dir: &Path, account: Option<Account>) -> Result<(), EmbeddedError> {
    let doing = || format!("take over {}", dir.display());
    let flags = OFlags::NOFOLLOW | OFlags::DIRECTORY;
    let open = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(dir).doing(doing)?;
    let owner = open.metadata().doing(doing)?.uid();
    if owner != geteuid().as_raw() && account.is_none_or(|account| account.uid != owner) {
        return Err(EmbeddedError::OtherOwner { dir: dir.to_path_buf(), owner });
    }
    if let Some(Account { uid, gid }) = account {
        fchown(&open, Some(uid), Some(gid)).doing(doing)?;
    }
    open.set_permissions(Permissions::from_mode(0o700)).doing(doing)
}

/// `run` inside the cluster, or a short name under `/tmp` when the socket's path would not fit into its field.
fn socket_dir(base: &Path) -> PathBuf {
    let inside = base.join("run");
    let bytes = inside.as_os_str().len() + 1 + SOCKET_NAME.len();
    match inside.to_str() {
        Some(_) if bytes <= SOCKET_PATH_BYTES_MAX => inside,
        _ => PathBuf::from(format!("/tmp/igny8-{}", short_hash(base))),
    }
}

/// Sixteen hexadecimal digits that stay the same for the same path.
fn short_hash(path: &Path) -> String {
    hex(&Sha256::digest(path.as_os_str().as_bytes())[..8])
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
