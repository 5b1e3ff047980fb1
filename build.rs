//! Writes into the binary which build it is: commit, whether the sources differ from it, and when.
//!
//! What it tells belongs to the moment it ran. It runs again when a file that enters the binary changes, when git's
//! idea of the current commit changes, or when one of the variables below does; else `cargo build` stays a no-op.
//!
//! * `IGNY8_GIT_COMMIT`: the commit, where the sources come without `.git` (the container image). In a clone git is
//!   asked instead: cargo hands this script's results to the programs it runs, and they may run cargo in their turn.
//! * `SOURCE_DATE_EPOCH`: the build time in seconds since 1970, for reproducible builds.
#![allow(clippy::disallowed_methods, reason = "a build script reads the environment and stamps the time")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs};

/// What can change the binary. A difference from the commit anywhere else (docs, tests) does not make a build dirty.
const INPUTS: [&str; 8] = [".cargo", ".sqlx", "Cargo.lock", "Cargo.toml", "assets", "build.rs", "migrations", "src"];

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"));

    // sqlx::migrate!() notices an edited migration by itself, but not a new file.
    for input in INPUTS {
        watch(&root.join(input));
    }
    println!("cargo:rerun-if-env-changed=IGNY8_GIT_COMMIT");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");

    let is_clone = root.join(".git").exists(); // not some repository further up, around an unpacked archive
    if is_clone {
        watch_head(&root);
    }
    let from_git = if is_clone { git(&root, &["rev-parse", "--verify", "HEAD"]) } else { None };
    let commit = from_git.or_else(|| env::var("IGNY8_GIT_COMMIT").ok()).filter(|commit| is_object_name(commit));
    let dirty = match (&commit, is_clone) {
        (None, _) => true, // nobody vouches for these sources
        (Some(_), false) => false,
        (Some(_), true) => {
            let mut status = vec!["status", "--porcelain", "--untracked-files=all", "--"];
            status.extend(INPUTS);
            git(&root, &status).is_none_or(|changes| !changes.is_empty())
        }
    };

    println!("cargo:rustc-env=IGNY8_GIT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=IGNY8_GIT_DIRTY={dirty}");
    println!("cargo:rustc-env=IGNY8_BUILD_TIME={}", rfc3339(seconds_since_1970()));
}

/// Asks cargo to run this script again when `path` changes. A missing path would make it run on every build.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo:rerun-if-changed={}", path.display());
    }
}

/// Watches the files in which git keeps the current commit, also in a worktree, where `.git` is a file.
fn watch_head(root: &Path) {
    let folder = |flag| git(root, &["rev-parse", flag]).map(|path| root.join(path));
    let (Some(own), Some(common)) = (folder("--git-dir"), folder("--git-common-dir")) else { return };
    let head = own.join("HEAD");
    watch(&head);
    watch(&common.join("packed-refs"));
    watch(&common.join("reftable/tables.list"));

    let Ok(text) = fs::read_to_string(head) else { return };
    let Some(branch) = text.strip_prefix("ref:") else { return };
    // A packed branch, or one without a commit yet, has no file: the next commit makes it in the nearest folder.
    if let Some(present) = common.join(branch.trim()).ancestors().find(|path| path.exists()) {
        watch(present);
    }
}

/// The trimmed output of a git command that only reads, or nothing when git is missing or says no.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .current_dir(root)
        // Inside a git hook these name whatever repository the hook runs for.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        // A clone that belongs to another user (a mounted checkout in CI) is still the one that is being built.
        .arg("-c")
        .arg(format!("safe.directory={}", root.display()))
        .args(["-c", "core.fsmonitor=false", "--no-optional-locks"])
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Whether `text` is a full object name, SHA-1 or SHA-256.
fn is_object_name(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn seconds_since_1970() -> u64 {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.trim().parse().expect("SOURCE_DATE_EPOCH is a whole number of seconds"),
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

/// Seconds since 1970 as `2026-03-01T12:00:00Z`.
fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Days since 1970-01-01 as year, month and day (Howard Hinnant's `civil_from_days`, for days after 1970). Its years
/// begin in March, so that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let era = days / 146_097; // 400 years
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
