//! The search for a server: `PG_BIN_DIR`, else whatever is installed, else an earlier `igny8 db fetch`.

use std::{
    cmp::Reverse,
    collections::HashSet,
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::geteuid;

use super::{
    error::EmbeddedError,
    place::{Account, command_as},
};

/// Where installers put PostgreSQL: directory, how the names in it begin, and the way from there to the binaries.
const INSTALLED: [(&str, &str, &str); 9] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/usr/local", "pgsql", "bin"),
    ("/usr/local/lib/postgresql", "", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ("/Library/PostgreSQL", "", "bin"),
];
/// How the directories begin that `igny8 db fetch` makes in the cache.
pub(super) const FETCHED_PREFIX: &str = "postgres-";

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

/// Where `igny8 db fetch` keeps its server unless told otherwise, and where the search looks last: root's is open to
/// the account that the server runs as, everybody else's is their own.
#[must_use]
pub fn cache_dir() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/cache/igny8");
    }
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| Some(absolute("HOME")?.join(".cache")))
        .unwrap_or_else(|| env::temp_dir().join(format!("cache-{}", geteuid().as_raw())))
        .join("igny8")
}

/// The server to use: of exactly the major version that made the data, else the newest of the first kind of place.
pub(super) fn find(made_by: Option<u32>, bin_dir: Option<&Path>, account: Option<Account>) -> Result<Server, EmbeddedError> {
    let probe = |dir: &Path| major_version(dir, account);
    match bin_dir {
        Some(dir) => match (probe(dir), made_by) {
            (None, _) => Err(EmbeddedError::BinDir(dir.to_path_buf())),
            (Some(found), Some(data)) if found != data => Err(EmbeddedError::Version { data, found }),
            (Some(major), _) => Ok(Server { dir: dir.to_path_buf(), major }),
        },
        None => choose(made_by, &[installed(), fetched(&cache_dir())], probe),
    }
}

/// The major version of the server in this directory, if there is one that this account can run.
pub(super) fn major_version(dir: &Path, account: Option<Account>) -> Option<u32> {
    if !dir.is_absolute() || !dir.join("initdb").is_file() || !dir.join("postgres").is_file() {
        return None;
    }
    let version = |program: &str| {
        let mut command = command_as(account, dir.join(program));
        let output = command.arg("--version").stdout(Stdio::piped()).output().ok()?;
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "initdb (PostgreSQL) 19beta1"
        let text = String::from_utf8(output.stdout).ok()?;
        text.split(')').nth(1)?.trim_start().split(|other: char| !other.is_ascii_digit()).next()?.parse().ok()
    };
    version("postgres").filter(|server: &u32| version("initdb") == Some(*server))
}

/// Places of one kind, with the words an error uses for them.
struct Places {
    named: String,
    dirs: Vec<PathBuf>,
}

fn choose(made_by: Option<u32>, chain: &[Places], probe: impl Fn(&Path) -> Option<u32>) -> Result<Server, EmbeddedError> {
    let mut seen = HashSet::new();
    let mut newest: Option<u32> = None;
    for places in chain {
        let mut servers: Vec<Server> = places
            .dirs
            .iter()
            .filter(|dir| dir.canonicalize().is_ok_and(|real| seen.insert(real)))
            .filter_map(|dir| Some(Server { dir: dir.clone(), major: probe(dir)? }))
            .collect();
        servers.sort_by_key(|server| Reverse(server.major));
        newest = newest.max(servers.first().map(|server| server.major));
        if let Some(server) = servers.into_iter().find(|server| made_by.is_none_or(|made_by| server.major == made_by)) {
            return Ok(server);
        }
    }
    Err(match (made_by, newest) {
        (Some(data), Some(found)) => EmbeddedError::Version { data, found },
        _ => EmbeddedError::NoBinaries { looked_at: chain.iter().map(|places| places.named.as_str()).collect::<Vec<_>>().join(", ") },
    })
}

fn installed() -> Places {
    let mut dirs = Vec::new();
    let mut named = vec!["PG_BIN_DIR, which is unset".to_owned(), "pg_config".to_owned(), "PATH".to_owned()];
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    dirs.extend(variable("PATH").iter().flat_map(env::split_paths));
    for (parent, prefix, way) in INSTALLED {
        dirs.extend(children(Path::new(parent), prefix).map(|dir| dir.join(way)));
        named.push(Path::new(parent).join(format!("{prefix}*")).join(way).display().to_string());
    }
    Places { named: named.join(", "), dirs }
}

fn fetched(cache_dir: &Path) -> Places {
    Places {
        named: cache_dir.join(format!("{FETCHED_PREFIX}*/bin")).display().to_string(),
        dirs: children(cache_dir, FETCHED_PREFIX).map(|dir| dir.join("bin")).collect(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the system's PATH, HOME and XDG_CACHE_HOME; our settings are config.rs's")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

fn children(parent: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let begins = move |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(prefix);
    fs::read_dir(parent).into_iter().flatten().flatten().filter(begins).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(named: &str, dirs: &[&str]) -> Places {
        Places { named: named.to_owned(), dirs: dirs.iter().map(PathBuf::from).collect() }
    }

    /// Real directories that stand for servers of a made-up version.
    fn made_up(dir: &Path) -> Option<u32> {
        match dir.to_str()? {
            "/usr" => Some(15),
            "/etc" => Some(17),
            "/tmp" => Some(18),
            _ => None,
        }
    }

    #[test]
    fn the_newest_installed_server_comes_before_a_fetched_one() {
        let chain = [places("installed", &["/usr", "/etc"]), places("cache", &["/tmp"])];

        let found = choose(None, &chain, made_up).expect("a server");

        assert_eq!(found, Server { dir: PathBuf::from("/etc"), major: 17 });
    }

    #[test]
    fn data_gets_the_version_that_made_it_wherever_that_is() {
        let chain = [places("installed", &["/usr", "/etc"]), places("cache", &["/tmp"])];

        assert_eq!(choose(Some(15), &chain, made_up).expect("a server").major, 15);
        assert_eq!(choose(Some(18), &chain, made_up).expect("a server").major, 18);
        let refused = choose(Some(14), &chain, made_up).expect_err("no 14 anywhere");
        assert!(matches!(refused, EmbeddedError::Version { data: 14, found: 18 }), "{refused}");
    }

    #[test]
    fn without_a_server_the_error_names_every_place_and_the_cure() {
        let chain = [Places { dirs: Vec::new(), ..installed() }, fetched(Path::new("/nowhere"))];

        let said = choose(None, &chain, made_up).expect_err("nothing to find").to_string();

        for part in ["PG_BIN_DIR", "pg_config", "PATH", "/usr/lib/postgresql/*/bin", "/nowhere/postgres-*/bin"] {
            assert!(said.contains(part), "{part} is missing: {said}");
        }
        for cure in ["igny8 db fetch", "DATABASE_URL", "apt install postgresql"] {
            assert!(said.contains(cure), "{cure} is missing: {said}");
        }
    }
}
