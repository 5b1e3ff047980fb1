//! `igny8 db`: a Postgres for those who have none, and one that is gone afterwards.

use super::{
    database::{self, NAME},
    failure::{Failure, whole},
    output::Output,
};
use igny8::{
    config::Config,
    db,
    embedded::{self, Durability, PrivatePostgres, Settings},
    secrets,
};
use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::ExitStatus,
};
use tokio::{
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

/// What a shell adds to the number of the signal that ended a command.
const SIGNAL_BASE: i32 = 128;

/// `igny8 db fetch`.
pub(crate) async fn fetch(output: Output) -> Result<(), Failure> {
    let fetched = tokio::task::spawn_blocking(move || embedded::fetch(&embedded::cache_dir(), &mut |step| output.text(step))).await;
    let bin_dir = fetched.map_err(|error| Failure::failed(error.to_string()))??;
    output.either(&serde_json::json!({ "bin_dir": bin_dir }), || {
        format!("PostgreSQL is in {} and is found there from now on", bin_dir.display())
    });
    Ok(())
}

/// `igny8 db run -- COMMAND`.
pub(crate) async fn run(config: &Config, command: Vec<OsString>) -> Result<(), Failure> {
    let mut signals = Signals::caught()?;
    let scratch = Scratch::new()?;
    let settings = Settings { data_dir: scratch.0.clone(), bin_dir: config.pg_bin_dir.clone(), durability: Durability::Disposable };
    let private = database::start_server(settings).await?;
    let ended = migrate_and_run(&private, command, &mut signals).await;
    database::stop(private).await;
    drop(scratch);
    match code_of(ended?) {
        0 => Ok(()),
        code => Err(Failure::of_command(code)),
    }
}

async fn migrate_and_run(private: &PrivatePostgres, command: Vec<OsString>, signals: &mut Signals) -> Result<ExitStatus, Failure> {
    db::migrate(&database::options_of(private)?).await?;
    let mut words = command.into_iter();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words).env("DATABASE_URL", private.url(NAME)).kill_on_drop(true);
    let child = command.spawn().map_err(|error| Failure::misused(format!("can't run {}: {error}", Path::new(&program).display())))?;
    signals.ended(child).await
}

/// What asks us to stop.
struct Signals {
    terminated: Signal,
    interrupted: Signal,
}

impl Signals {
    /// Caught from here on: before anything runs that would be left behind.
    fn caught() -> Result<Self, Failure> {
        let caught = |kind| signal(kind).map_err(|error| Failure::failed(format!("can't catch signals: {error}")));
        Ok(Signals { terminated: caught(SignalKind::terminate())?, interrupted: caught(SignalKind::interrupt())? })
    }

    /// Waits for the command. An interrupt from the terminal reaches it without us; a request to stop ends it.
    async fn ended(&mut self, mut child: Child) -> Result<ExitStatus, Failure> {
        let failed = |error: std::io::Error| Failure::failed(whole(&error));
        loop {
            tokio::select! {
                status = child.wait() => return status.map_err(failed),
                _ = self.interrupted.recv() => {}
                _ = self.terminated.recv() => child.start_kill().map_err(failed)?,
            }
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNAL_BASE + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// A directory that goes when it is no longer needed.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let name = format!("igny8-db-{}", secrets::random_uuid().simple());
        let dir = std::env::temp_dir().join(name);
        let failed = |error: std::io::Error| Failure::failed(format!("can't make {}: {error}", dir.display()));
        fs::create_dir(&dir).map_err(failed)?;
        // The server may have to run as another account, which must be able to enter.
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).map_err(failed)?;
        Ok(Scratch(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(dir = %self.0.display(), %error, "can't remove the scratch directory");
        }
    }
}
