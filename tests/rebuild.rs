//! Requirement D: what is served is what was deployed. The check of `scripts/rebuild.sh` against a real server, and what may
//! enter the image.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]
#![allow(clippy::disallowed_methods, reason = "a test looks at its own environment")]

#[path = "support/database.rs"]
mod database;

use database::TestDatabase;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The real program, serving.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(database: &TestDatabase) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igny8"));
        command.args(["serve", "--json"]).current_dir(env!("CARGO_TARGET_TMPDIR")).env_clear();
        command.env("DATABASE_URL", database.url()).env("BIND_ADDR", "127.0.0.1:0").env("LOG_LEVEL", "warn");
        command.env("JWT_SECRET_KEY", "rebuild-test-secret-rebuild-test-secret");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut text = String::new();
        for line in lines.by_ref() {
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        // Whatever else it prints is read, so that it never blocks on a full pipe.
        thread::spawn(move || lines.for_each(drop));
        let facts: Value = serde_json::from_str(&text).expect("the server says where it listens");
        Server { child, url: facts["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The script's exit code and what it says.
fn rebuild(arguments: &[&str]) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rebuild.sh");
    let output = Command::new("bash").arg(script).args(arguments).env("READY_SECONDS", "1").output().unwrap();
    (output.status.code(), format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn commit_of_this_build() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_igny8")).args(["--version", "--json"]).output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["commit"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn d_the_check_passes_for_the_running_commit_and_fails_for_every_other() {
    let database = TestDatabase::new().await;
    let server = Server::start(&database);
    let commit = commit_of_this_build();
    let other = if commit.starts_with('0') { commit.replacen('0', "1", 1) } else { format!("0{}", &commit[1..]) };

    let right = rebuild(&["--check", &server.url, &commit]);
    let right_with_slash = rebuild(&["--check", &format!("{}/", server.url), &commit]);
    let wrong = rebuild(&["--check", &server.url, &"0123456789".repeat(4)]);
    let nearly = rebuild(&["--check", &server.url, &other]);
    let short = rebuild(&["--check", &server.url, "abc"]);

    if commit == "unknown" {
        // Built without git and without being told: nobody can vouch for such a build.
        assert_eq!((right.0, wrong.0), (Some(2), Some(1)), "{right:?} {wrong:?}");
    } else {
        for passed in [right, right_with_slash] {
            assert!(passed.0 == Some(0) && passed.1.contains(&format!("serves {commit}")), "{passed:?}");
        }
        for stale in [wrong, nearly] {
            assert!(stale.0 == Some(1) && stale.1.contains("a stale build is serving") && stale.1.contains(&commit), "{stale:?}");
        }
    }
    assert_eq!(short.0, Some(2), "{short:?}");
    drop(server);
    database.close().await;
}

#[test]
fn d_the_check_fails_where_nobody_serves_and_when_it_is_called_wrongly() {
    let unused = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();

    let nobody = rebuild(&["--check", &format!("http://{unused}"), &"0123456789".repeat(4)]);
    let too_few = rebuild(&["--check", "http://127.0.0.1:1"]);
    let unknown = rebuild(&["--hurry"]);

    assert!(nobody.0 == Some(1) && nobody.1.contains("is not ready after 1 s"), "{nobody:?}");
    assert_eq!((too_few.0, unknown.0), (Some(2), Some(2)), "{too_few:?} {unknown:?}");
}

#[test]
fn d_nothing_but_sources_enters_the_image() {
    let ignore = read(".dockerignore");

    let lines = ignore.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).collect::<Vec<_>>();

    assert_eq!(lines[0], "*", "an allow-list begins by keeping everything out");
    let sources = [
        "!.cargo/config.toml",
        "!.sqlx/*.json",
        "!Cargo.lock",
        "!Cargo.toml",
        "!README.md",
        "!assets",
        "!benches",
        "!build.rs",
        "!migrations",
        "!src",
    ];
    assert_eq!(lines[1..], sources, "what enters the image is listed here too, so that it is decided twice");
    for secret in [".env", ".data", "target", ".git"] {
        assert!(!sources.iter().any(|line| line.trim_start_matches('!') == secret), "{secret}");
    }
}

/// The Dockerfile's instructions, continued lines joined.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile").lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    text.replace("\\\n", " ").lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn d_the_image_is_built_from_the_lock_file_only_and_holds_the_one_binary() {
    let instructions = instructions();

    let runs = instructions.iter().filter_map(|line| line.strip_prefix("RUN ")).flat_map(|line| line.split("&&"));
    let commands = runs.filter(|command| command.contains("cargo ")).collect::<Vec<_>>();
    assert!(commands.iter().any(|command| command.contains("cargo build")), "{commands:?}");
    for command in commands {
        assert!(command.contains("--locked"), "{command}");
    }
    let last_stage = instructions.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let copied = instructions[last_stage..].iter().filter(|line| line.starts_with("COPY ") || line.starts_with("ADD ")).collect::<Vec<_>>();
    assert_eq!(copied, ["COPY --from=build /out/igny8 /igny8"]);
    for line in &instructions {
        assert!(
            !line.starts_with("VOLUME") && !line.starts_with("ADD ") && !line.contains("--mount") && !line.contains(":latest"),
            "{line}"
        );
    }
    assert!(
        instructions.iter().any(|line| line.contains("IGNY8_GIT_COMMIT=\"$GIT_COMMIT\" cargo build")),
        "the build must know its commit"
    );
}

/// cargo refuses a Cargo.toml that names a target without a file, also one that is not built.
#[test]
fn d_the_layer_of_dependencies_has_a_stub_for_every_bench() {
    let manifest = read("Cargo.toml");

    let benches = manifest.split("[[bench]]").skip(1).map(|bench| bench.split('"').nth(1).unwrap()).collect::<Vec<_>>();

    let stubs = instructions().into_iter().find(|line| line.contains("touch src/lib.rs")).unwrap();
    assert!(!benches.is_empty());
    for bench in benches {
        assert!(stubs.contains(&format!(" benches/{bench}.rs ")), "add benches/{bench}.rs to the stubs in the Dockerfile");
    }
}

/// The lines of a service in the compose file.
fn service<'a>(compose: &'a str, name: &str) -> Vec<&'a str> {
    let begins = format!("  {name}:");
    let lines = compose.lines().skip_while(|line| *line != begins).skip(1);
    lines.take_while(|line| line.is_empty() || line.starts_with("    ")).collect()
}

#[test]
fn d_no_mount_lies_over_the_image() {
    let compose = read("docker-compose.yml");

    for name in ["migrate", "server"] {
        let lines = service(&compose, name);
        assert!(lines.contains(&"    image: igny8:local"), "{name}: {lines:?}");
        for word in ["volumes:", "bind", "configs:", "secrets:", "develop:", "entrypoint:"] {
            assert!(!lines.iter().any(|line| line.trim_start().starts_with(word)), "{name} has {word}");
        }
        let mounted =
            lines.iter().skip_while(|line| line.trim() != "tmpfs:").skip(1).take_while(|line| line.trim_start().starts_with("- "));
        assert_eq!(mounted.collect::<Vec<_>>(), [&"      - /tmp"], "{name}");
        assert!(lines.contains(&"    read_only: true"), "{name}");
    }
    let volumes = service(&compose, "postgres").into_iter().skip_while(|line| *line != "    volumes:").skip(1);
    let volumes = volumes.take_while(|line| line.trim_start().starts_with("- ")).collect::<Vec<_>>();
    assert_eq!(volumes, ["      - postgres:/var/lib/postgresql/data"]);
}
