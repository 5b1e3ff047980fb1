//! The watchdog beside a server: a shell at the reading end of a FIFO whose writers are the server's users.
//!
//! However a user goes, the kernel closes its end; when the last is gone, the watchdog ends the server.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use rustix::{fs::OFlags, io::ioctl_fionread};

use super::{
    POLL,
    error::{Doing, EmbeddedError},
    instant,
    place::command_as,
    server::{Cluster, reap},
};

/// Reads the FIFO until its last writer is gone, then ends the server, unless the pid file names another one by now. It
/// stays until that server says it is stopping, so that nobody adopts one that was already told to.
const WATCHDOG: &str = r#"trap '' HUP INT TERM
cat "$1" >/dev/null
ours() { read -r pid <"$3" && [ "$pid" = "$2" ]; }
ours "$@" && kill -INT "$2" || exit 0
n=0; while [ $n -lt 600 ] && ours "$@" && grep -q '^ready' "$3"; do n=$((n + 1)); sleep 0.02 || sleep 1; done"#;

impl Cluster {
    /// Puts a watchdog beside the server and gives the first hold on it.
    pub(super) fn watch(&self, pid: u32, deadline: Instant) -> Result<File, EmbeddedError> {
        // Both are new files: a watchdog of an earlier server may still keep the old ones.
        for old in [self.fifo(), self.place.base.join("watchdog.lock")] {
            match fs::remove_file(&old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
            .doing(|| format!("remove {}", old.display()))?;
        }
        let mut mkfifo = command_as(self.place.account, "mkfifo");
        let made = mkfifo.args(["-m", "600"]).arg(self.fifo()).status().doing(|| "run mkfifo".to_owned())?;
        if !made.success() {
            return Err(EmbeddedError::Start(format!("mkfifo ended with {made}")));
        }
        let lock = self.lock("watchdog.lock")?.ok_or_else(|| EmbeddedError::Start("a second watchdog".to_owned()))?;
        let mut shell = command_as(self.place.account, "sh");
        shell.args(["-c", WATCHDOG, "pg-watchdog"]).arg(self.fifo()).arg(pid.to_string()).arg(self.pid_file());
        reap(shell.stdin(lock).spawn().doing(|| "run the watchdog".to_owned())?);
        loop {
            match open_to_hold(&self.fifo()) {
                Err(error) if instant() >= deadline => {
                    return Err(EmbeddedError::Start(format!("the watchdog does not listen: {error}")));
                }
                Err(_) => thread::sleep(POLL / 5),
                Ok(hold) => return Ok(hold),
            }
        }
    }

    /// Takes hold of a watched server, or `None` when its watchdog has just seen the last holder leave.
    pub(super) fn join(&self, deadline: Instant) -> Result<Option<File>, EmbeddedError> {
        let Ok(mut hold) = open_to_hold(&self.fifo()) else { return Ok(None) };
        if hold.write_all(b".").is_err() {
            return Ok(None);
        }
        // The byte is gone: the watchdog still reads, and with us as a writer it will not see the end. Without this
        // look, an open in the instant before the watchdog's close would give a hold on a server about to stop.
        while ioctl_fionread(&hold).map_err(io::Error::from).doing(|| "look into the FIFO".to_owned())? > 0 {
            if instant() >= deadline || open_to_hold(&self.fifo()).is_err() {
                return Ok(None);
            }
            thread::sleep(POLL / 5);
        }
        Ok(Some(hold))
    }

    fn fifo(&self) -> PathBuf {
        self.place.base.join("users")
    }
}

/// Opens the FIFO for writing without waiting: it fails when nobody reads.
fn open_to_hold(fifo: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
    OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(fifo)
}
