//! The README's tour, run as it stands: a real server, real curl, and the answers that the README shows.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A command of the tour, and the answer that the README shows for it; some have none.
struct Step {
    command: String,
    answer: Option<String>,
}

fn tour() -> Vec<Step> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let section = readme.split("## Five minutes with curl").nth(1).expect("the README has a tour").split("\n## ").next().unwrap();
    let mut steps: Vec<Step> = Vec::new();
    for block in section.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match language {
            "bash" => steps.push(Step { command: text.to_owned(), answer: None }),
            _ => steps.last_mut().expect("an answer follows a command").answer = Some(text.to_owned()),
        }
    }
    steps
}

/// Dates and check digits change from day to day; everything else must be as shown.
fn without_dates(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut line = line.trim_end().to_owned();
        for (pattern, replacement) in [
            ("20\\d\\d-\\d\\d-\\d\\d", "DATE"),
            ("INV-2-\\d{6}-", "INV-2-MONTH-"),
            ("RF\\d\\dIG", "RFxxIG"),
            ("IG000002\\d{4}", "IG000002MMMM"),
        ] {
            line = regex_lite::Regex::new(pattern).unwrap().replace_all(&line, replacement).into_owned();
        }
        out.push_str(&line);
        out.push('\n');
    }
    out.trim_end().to_owned()
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// Starts the binary on a free port with nothing but a data directory, and reads its address from what it prints.
    fn start(data_dir: &Path) -> Self {
        let mut child = igny8(data_dir).env("BIND_ADDR", "127.0.0.1:0").env("LOG_LEVEL", "warn").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("the server says where it listens").unwrap();
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split(['/', ' ', ',']).next().unwrap().to_owned();
            }
        };
        // Whatever else it prints is read, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn igny8(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_igny8"));
    command.current_dir(data_dir).env("DATA_DIR", data_dir.join("data")).env_remove("DATABASE_URL");
    command
}

fn scratch() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tour-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn the_tour_of_the_readme_gives_the_answers_that_it_shows() {
    for tool in ["curl", "jq", "bash"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).status();
        assert!(found.is_ok_and(|status| status.success()), "the tour needs {tool}: apt-get install {tool}");
    }
    let steps = tour();
    let dir = scratch();
    let server = Server::start(&dir);

    // One shell for all steps, so that variables live on; a mark divides the answers.
    let mut script = format!("IGNY8='{}'\nAPI='http://{}/api/v1'\n", env!("CARGO_BIN_EXE_igny8"), server.address);
    for step in &steps {
        script.push_str(&step.command);
        script.push_str("\necho; echo '=== step ==='\n");
    }
    let mut shell = Command::new("bash")
        .current_dir(&dir)
        .env("DATA_DIR", dir.join("data"))
        .env_remove("DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = String::from_utf8(shell.wait_with_output().unwrap().stdout).unwrap();
    drop(server);

    let answers = output.split("=== step ===").map(str::trim).collect::<Vec<_>>();
    assert!(steps.iter().filter(|step| step.command.contains("curl")).count() <= 15, "the tour has at most fifteen curl commands");
    for (step, given) in steps.iter().zip(&answers) {
        if let Some(shown) = &step.answer {
            assert_eq!(without_dates(given), without_dates(shown), "after:\n{}", step.command);
        }
    }
    fs::remove_dir_all(&dir).unwrap();
}
