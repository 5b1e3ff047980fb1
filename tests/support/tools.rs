//! Programs that look at what we make, from Debian packages: installed ones, or fetched once below target/.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

/// One fetch at a time.
static FETCHING: Mutex<()> = Mutex::new(());

/// A program of a package, ready to be run. Fails with one sentence where it is neither installed nor to be had.
#[expect(clippy::disallowed_methods, reason = "where the machine keeps its programs, not a setting of the application")]
pub(crate) fn tool(name: &str, package: &str) -> Command {
    let installed = env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()));
    if installed {
        return Command::new(name);
    }
    let _one_at_a_time = FETCHING.lock().expect("no fetch has panicked");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools").join(package);
    let programs = ["usr/bin", "usr/sbin"].map(|place| folder.join(place).join(name));
    let found = || programs.iter().find(|program| program.is_file());
    if found().is_none() {
        fetch(package, &folder);
    }
    let program = found().unwrap_or_else(|| panic!("install {package}: this test needs {name}, and apt-get did not bring it"));
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", libraries(&folder));
    command
}

/// Unpacks a package and what it lacks here into a folder, without installing anything.
fn fetch(package: &str, folder: &Path) {
    let unpacked = folder.with_extension(format!("new-{}", std::process::id()));
    fs::create_dir_all(&unpacked).expect("a folder below target");
    let list = || Command::new("apt-get").args(["install", "--print-uris", "--yes", "--no-install-recommends", package]).output();
    if !list().is_ok_and(|output| output.status.success()) {
        // A fresh image has no lists; only root may fetch them.
        let _ = Command::new("apt-get").arg("update").output();
    }
    let listed = run(Command::new("apt-get").args(["install", "--print-uris", "--yes", "--no-install-recommends", package]), package);
    // 'http://…' poppler-utils_22.12.0-2_amd64.deb 191936 …
    let files = listed.lines().filter(|line| line.starts_with('\'')).filter_map(|line| line.split_whitespace().nth(1));
    let names = files.filter_map(|file| file.split('_').next()).collect::<Vec<_>>();
    run(Command::new("apt-get").arg("download").args(names).current_dir(&unpacked), package);
    for entry in fs::read_dir(&unpacked).expect("the folder") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").args([path.as_path(), unpacked.as_path()]), package);
        }
    }
    // Another process may have been faster: then its folder serves.
    if fs::rename(&unpacked, folder).is_err() {
        fs::remove_dir_all(&unpacked).expect("our folder below target");
    }
}

fn run(command: &mut Command, package: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("install {package}: this test needs it, and {command:?} gave: {error}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "install {package}: this test needs it, and {command:?} gave: {told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every folder below `usr/lib`, for the loader.
fn libraries(folder: &Path) -> std::ffi::OsString {
    let below =
        |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    env::join_paths(below(folder.join("usr/lib"))).expect("plain names")
}
