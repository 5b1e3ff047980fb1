//! The real program, serving over TCP on a database that the test names, and a client for it.

use axum::{body::Bytes, http::Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// What one request may take before its client gives up: longer than the server gives itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// The program with its settings.
pub(crate) struct Program {
    dir: PathBuf,
    address: String,
    variables: Vec<(String, String)>,
    child: Option<Child>,
}

impl Program {
    /// On a database, on a port that nobody listened on a moment ago; not started yet.
    pub(crate) fn on(dir: PathBuf, database_url: &str) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").to_string();
        let program = Program { dir, address, variables: Vec::new(), child: None };
        program
            .with("DATABASE_URL", database_url)
            .with("JWT_SECRET_KEY", "the secret of the program's tests, long enough")
            .with("THROTTLE_DISABLED", "true")
            .with("LOG_LEVEL", "warn")
    }

    /// One setting more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igny8"));
        command.args(arguments).current_dir(&self.dir).env_clear().stdin(Stdio::null()).env("BIND_ADDR", &self.address);
        command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, env::var_os(name)?))));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs another command of it with the same settings.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        use std::io::Write as _;
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    /// Asserts the laws of money, as an operator would ask for them.
    pub(crate) fn verify(&self) {
        let verified = self.run(&["verify"], "");
        let told = format!("{}{}", String::from_utf8_lossy(&verified.stdout), String::from_utf8_lossy(&verified.stderr));
        assert_eq!(verified.status.code(), Some(0), "{told}");
    }

    /// Starts to serve.
    pub(crate) fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.join("server.log")).expect("a log");
        self.child = Some(self.command(&["serve"]).stdout(Stdio::null()).stderr(log).spawn().expect("it starts"));
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it serves");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it serves");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it lives");
        child.wait().expect("our child")
    }

    /// What it has logged so far.
    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(self.dir.join("server.log")).unwrap_or_default()
    }

    /// Waits until it is ready; how long that took.
    pub(crate) async fn ready(&self, client: &Web) -> Duration {
        let began = Instant::now();
        while client.get("/readyz", "").await.is_none_or(|(status, _)| status != 200) {
            assert!(began.elapsed() < Duration::from_secs(30), "not ready in time: {}", self.logged());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }

    /// Kibibytes of memory that it holds.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref().expect("it serves").id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// A client for it.
    pub(crate) fn client(&self) -> Web {
        Web { client: Client::builder(TokioExecutor::new()).build_http(), base: format!("http://{}", self.address) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client; cheap to clone, with connections of its own.
#[derive(Clone)]
pub(crate) struct Web {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

/// A status and a body; none when no answer came.
pub(crate) type Answer = Option<(u16, Value)>;

impl Web {
    /// GET, by somebody's token.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Request::get(format!("{}{path}", self.base)), token, "", &Value::Null).await
    }

    /// POST, by somebody's token, with an idempotency key unless that is empty.
    pub(crate) async fn post(&self, path: &str, token: &str, key: &str, body: &Value) -> Answer {
        self.send(Request::post(format!("{}{path}", self.base)), token, key, body).await
    }

    async fn send(&self, mut request: axum::http::request::Builder, token: &str, key: &str, body: &Value) -> Answer {
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let request = request.header("content-type", "application/json").body(Full::new(bytes)).expect("a request");
        let asked = async {
            let answer = self.client.request(request).await.ok()?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            Some((status, serde_json::from_slice(&body).ok()?))
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// Registers somebody: his token and his account.
    pub(crate) async fn register(&self, email: &str) -> (String, i64) {
        let form = serde_json::json!({ "email": email, "password": PASSWORD });
        let (status, body) = self.post("/api/v1/auth/register/", "", "", &form).await.expect("an answer");
        assert_eq!(status, 201, "{body}");
        let data = &body["data"];
        (data["access"].as_str().expect("a token").to_owned(), data["user"]["account"]["id"].as_i64().expect("an account"))
    }

    /// Signs somebody in: his token.
    pub(crate) async fn log_in(&self, email: &str) -> String {
        let form = serde_json::json!({ "email": email, "password": PASSWORD });
        let (status, body) = self.post("/api/v1/auth/login/", "", "", &form).await.expect("an answer");
        assert_eq!(status, 200, "{body}");
        body["data"]["access"].as_str().expect("a token").to_owned()
    }
}
