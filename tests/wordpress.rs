//! The real client: PHP with WordPress's own HTTP classes, and the class of docs/wordpress.md as it stands there, against the real
//! server on a socket. Once by each of WordPress's two transports, curl and plain streams.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]
#![allow(clippy::disallowed_methods, reason = "how long a client waits is real time")]

#[path = "api/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};
use support::{Session, TestApp};
use tokio::{
    io::{AsyncReadExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// What to install, in one sentence.
const NEEDED: &str = "this test runs WordPress: install Debian's packages php-cli and wordpress, or let apt-get download them";
/// Beside PHP and WordPress themselves: what the command needs that a slim system lacks.
const LIBRARIES: [&str; 6] = ["libargon2-1", "libbsd0", "libedit2", "libmagic1", "libsodium23", "libxml2"];

// --- PHP and WordPress -------------------------------------------------------------------------------------------

/// A PHP that runs WordPress's code.
struct Php {
    command: PathBuf,
    /// Where its libraries were unpacked; none where the system has them.
    libraries: Option<PathBuf>,
    /// Its curl extension, where it is not switched on anyway.
    curl: Option<PathBuf>,
    wordpress: PathBuf,
    /// The class of docs/wordpress.md.
    client: PathBuf,
}

/// How WordPress sends what it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Curl,
    Streams,
}

impl Php {
    /// The system's, or one that is unpacked beside the build.
    fn find() -> &'static Php {
        static PHP: OnceLock<Php> = OnceLock::new();
        PHP.get_or_init(|| {
            let php = Php::of_system().unwrap_or_else(|| Php::unpacked(&downloaded()));
            // By a name of its own first: another test process may be reading it.
            let draft = php.client.with_extension(std::process::id().to_string());
            fs::write(&draft, documented_client()).unwrap();
            fs::rename(&draft, &php.client).unwrap();
            php
        })
    }

    fn of_system() -> Option<Php> {
        let wordpress = PathBuf::from("/usr/share/wordpress");
        let answers = Command::new("php").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?.success();
        let is_there = answers && wordpress.join("wp-includes/http.php").exists();
        is_there.then(|| Php { command: "php".into(), libraries: None, curl: None, wordpress, client: client_path() })
    }

    fn unpacked(root: &Path) -> Php {
        let within = |folder: &Path, is_it: &dyn Fn(&str) -> bool| {
            let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let mut paths = entries.map(|entry| entry.unwrap().path());
            paths.find(|path| is_it(path.file_name().and_then(|name| name.to_str()).unwrap_or("")))
        };
        let libraries = within(&root.join("usr/lib"), &|name| name.ends_with("-linux-gnu"));
        let extensions = within(&root.join("usr/lib/php"), &|name| name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit()));
        Php {
            command: within(&root.join("usr/bin"), &|name| name.starts_with("php")).expect(NEEDED),
            libraries,
            curl: extensions.map(|folder| folder.join("curl.so")).filter(|path| path.exists()),
            wordpress: root.join("usr/share/wordpress"),
            client: client_path(),
        }
    }

    fn command(&self, transport: Transport) -> Command {
        let mut command = Command::new(&self.command);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries).arg("-n");
        }
        match (transport, &self.curl) {
            (Transport::Streams, _) => drop(command.args(["-d", "disable_functions=curl_init"])),
            (Transport::Curl, Some(path)) => drop(command.arg("-d").arg(format!("extension={}", path.display()))),
            (Transport::Curl, None) => {}
        }
        command
    }

    /// Streams are always there; curl where its library is.
    fn transports(&self) -> Vec<Transport> {
        let asked =
            self.command(Transport::Curl).args(["-r", "exit(function_exists('curl_init') ? 0 : 1);"]).stderr(Stdio::null()).status();
        let has_curl = asked.is_ok_and(|status| status.success());
        println!("WordPress sends by streams{}", if has_curl { " and by curl" } else { " only: libcurl is not here" });
        if has_curl { vec![Transport::Streams, Transport::Curl] } else { vec![Transport::Streams] }
    }

    /// Makes the calls one after the other in one process, and gives what each told.
    fn run(&self, transport: Transport, calls: &Value) -> Vec<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wordpress/run.php");
        let mut command = self.command(transport);
        command.arg(script).env("WORDPRESS_DIR", &self.wordpress).env("IGNY8_CLIENT", &self.client);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect(NEEDED);
        child.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let (told, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let told = told.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("PHP said {told}\n{complaints}")));
        let told = told.collect::<Vec<_>>();
        assert_eq!(told.len(), calls.as_array().unwrap().len(), "{complaints}");
        told
    }
}

fn client_path() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("igny8-client.php")
}

/// The one block of PHP in docs/wordpress.md.
fn documented_client() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wordpress.md")).unwrap();
    let (_, rest) = page.split_once("```php\n").expect("the page has a block of PHP");
    rest.split_once("```").expect("which ends").0.to_owned()
}

/// The folder into which the packages are unpacked; done once for all runs.
fn downloaded() -> PathBuf {
    let finished = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wordpress");
    if finished.exists() {
        return finished;
    }
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("wordpress-{}", std::process::id()));
    fs::create_dir_all(work.join("root")).unwrap();
    let php = php_package();
    let packages = [php.clone(), php.replace("-cli", "-common"), php.replace("-cli", "-curl"), "wordpress".to_owned()];
    let packages = packages.into_iter().chain(LIBRARIES.map(str::to_owned)).collect::<Vec<_>>();
    let download = || Command::new("apt-get").arg("download").args(&packages).current_dir(&work).output();
    let is_done = |done: &std::io::Result<std::process::Output>| done.as_ref().is_ok_and(|output| output.status.success());
    let mut done = download();
    if !is_done(&done) {
        // The lists may be missing, or name versions that are gone.
        let _ = Command::new("apt-get").arg("update").output();
        done = download();
    }
    assert!(is_done(&done), "{NEEDED}: {done:?}");
    for entry in fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_some_and(|extension| extension == "deb") {
            let status = Command::new("dpkg").arg("-x").arg(&entry).arg(work.join("root")).status().expect(NEEDED);
            assert!(status.success(), "{NEEDED}: {} can't be unpacked", entry.display());
        }
    }
    // Another test process may have been faster; its folder is as good.
    let _ = fs::rename(work.join("root"), &finished);
    let _ = fs::remove_dir_all(&work);
    finished
}

/// `php8.2-cli`, as Debian's `php-cli` stands for it.
fn php_package() -> String {
    let output = Command::new("apt-cache").args(["depends", "php-cli"]).output().expect(NEEDED);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).find(|name| name.ends_with("-cli"));
    names.expect(NEEDED).to_owned()
}

// --- The server --------------------------------------------------------------------------------------------------

/// The production server on a socket, with a site and its key.
struct Server {
    app: TestApp,
    ana: Session,
    key: String,
    address: SocketAddr,
    base: String,
    _stop: oneshot::Sender<()>,
}

impl Server {
    async fn start() -> Self {
        let app = TestApp::start().await;
        let ana = app.register("ana@example.com").await;
        let body = json!({"name": "Garden", "url": "https://garden.example.com"});
        let site = app.post("/api/v1/auth/sites/").bearer(&ana.access).json(body).send().await.expect(201).data()["id"].clone();
        let key = app.post(&format!("/api/v1/auth/sites/{site}/api-key/")).bearer(&ana.access).send().await.expect(201);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(igny8::server::serve(listener, app.state.clone(), async move {
            let _ = stopped.await;
        }));
        let key = key.data()["key"].as_str().unwrap().to_owned();
        Server { app, ana, key, address, base: format!("http://{address}/api/v1"), _stop: stop }
    }

    /// A call of the documented client.
    fn client(&self, method: &str, with: Value) -> Value {
        json!({"client": method, "with": with, "key": self.key, "base": self.base, "timeout": 5})
    }

    /// A call of one of WordPress's own functions.
    fn wp(&self, function: &str, path: &str, mut args: Value) -> Value {
        args["headers"]["Authorization"] = json!(format!("Bearer {}", self.key));
        json!({"wp": function, "with": [format!("{}{path}", self.base), args]})
    }

    async fn deductions(&self) -> i64 {
        self.app.count("select count(*) from credit_transactions where kind = 'deduction'").await
    }
}

async fn php(transport: Transport, calls: Value) -> Vec<Value> {
    tokio::task::spawn_blocking(move || Php::find().run(transport, &calls)).await.unwrap()
}

async fn transports() -> Vec<Transport> {
    tokio::task::spawn_blocking(|| Php::find().transports()).await.unwrap()
}

fn code(told: &Value) -> &str {
    told["error"].as_str().unwrap_or_else(|| panic!("no error: {told}"))
}

/// A way to the server on which the first answers are lost, though the server has given them.
async fn losing(answers: usize, server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let is_lost = accepted.fetch_add(1, Ordering::SeqCst) < answers;
            tokio::spawn(async move {
                let mut upstream = TcpStream::connect(server).await.unwrap();
                if !is_lost {
                    let _ = copy_bidirectional(&mut client, &mut upstream).await;
                    return;
                }
                let (mut from_client, _to_client) = client.split();
                let (mut from_server, mut to_server) = upstream.split();
                let mut answer = Vec::new();
                let _ = tokio::join!(tokio::io::copy(&mut from_client, &mut to_server), from_server.read_to_end(&mut answer));
            });
        }
    });
    address
}

// --- The stories -------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_client_does_all_that_a_plugin_does() {
    for transport in transports().await {
        let server = Server::start().await;

        let told = php(
            transport,
            json!([
                server.client("verify", json!([])),
                server.client("check", json!(["clustering", 1])),
                server.client("deduct", json!(["job-1", "clustering", 1, {"post": 7, "tags": ["a", "b"]}])),
                server.client("deduct", json!(["job-1", "clustering", 1, {"post": 7, "tags": ["a", "b"]}])),
                server.client("deduct", json!(["job-1", "clustering", 2])),
                server.client("report", json!(["post.published", 4711, {"title": "Rosés"}])),
                server.client("report", json!(["post.published", 4711, {"title": "Rosés"}])),
                server.client("report", json!(["post.deleted", 4711])),
                server.client("balance", json!([])),
            ]),
        )
        .await;

        let [verified, checked, spent, again, other, first, second, third, balance] = &told[..] else { panic!("{told:?}") };
        assert_eq!((&verified["data"]["valid"], &verified["data"]["url_conflict"]), (&json!(true), &Value::Null), "{verified}");
        assert_eq!(checked["data"], json!({"cost": 10, "available": 2000, "sufficient": true}));
        assert_eq!(spent["data"]["transaction"]["metadata"], json!({"post": 7, "tags": ["a", "b"]}));
        assert_eq!(spent["data"]["transaction"]["id"], again["data"]["transaction"]["id"]);
        assert_eq!((code(other), &other["data"]["status"]), ("idempotency_key_reused", &json!(409)));
        assert_eq!((&first["data"], &first["data"]["payload"]["title"]), (&second["data"], &json!("Rosés")));
        assert_eq!(
            (&third["data"]["event_type"], &third["data"]["payload"]),
            (&json!("post.deleted"), &json!([])),
            "PHP reads an empty object as an empty array"
        );
        assert_eq!(balance["data"]["available"], 1990);
        assert_eq!(server.deductions().await, 1);
        server.app.verify().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wordpress_own_functions_send_json_and_arrays_with_and_without_the_last_slash() {
    for transport in transports().await {
        let server = Server::start().await;
        let as_array = json!({"body": {"operation": "image_generation", "quantity": 2, "metadata": {"post": 7, "tags": ["a", "b"], "size": {"w": 1}}}});
        let as_json = json!({"body": "{\"operation\":\"clustering\",\"quantity\":1}", "headers": {"Content-Type": "application/json"}});
        let event =
            json!({"body": {"events": [{"event_type": "post.published", "external_id": 1, "payload": {"title": "A"}}]}, "method": "POST"});

        let told = php(
            transport,
            json!([
                server.wp("wp_remote_get", "/integration/verify-key", json!({})),
                server.wp("wp_remote_get", "/integration/verify-key/", json!({})),
                server.wp("wp_remote_post", "/billing/credits/deduct", as_array.clone()),
                server.wp("wp_remote_post", "/billing/credits/deduct/", as_json.clone()),
                server.wp("wp_remote_post", "/billing/credits/check/", as_array),
                server.wp("wp_remote_request", "/integration/events/", event.clone()),
                server.wp("wp_remote_request", "/integration/events", event),
                server.wp("wp_remote_get", "/billing/credits/balance", json!({})),
            ]),
        )
        .await;

        let statuses = told.iter().map(|told| told["status"].as_i64().unwrap_or_else(|| panic!("{told}"))).collect::<Vec<_>>();
        assert_eq!(statuses, [200, 200, 201, 201, 200, 201, 200, 200]);
        assert!(told.iter().all(|told| told["body"]["success"] == true), "{told:?}");
        let metadata = &told[2]["body"]["data"]["transaction"]["metadata"];
        assert_eq!(metadata, &json!({"post": "7", "tags": ["a", "b"], "size": {"w": "1"}}), "a form is text");
        assert_eq!((&told[5]["body"]["data"]["created"], &told[6]["replayed"]), (&json!(1), &json!("true")));
        assert_eq!(told[7]["body"]["data"]["available"], 1980);
        server.app.verify().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reason_to_refuse_reaches_the_plugin_as_its_code() {
    for transport in transports().await {
        let server = Server::start().await;
        let spend = || json!([server.client("deduct", json!(["job-1", "clustering", 1]))]);
        let verify = || json!([server.client("verify", json!([]))]);
        let mut unknown = server.client("verify", json!([]));
        unknown["key"] = json!(igny8::secrets::new_site_key());
        let mut clone = server.client("deduct", json!(["job-2", "clustering", 1]));
        clone["home"] = json!("https://staging.example.com");

        let told = php(transport, json!([unknown, clone, server.client("deduct", json!(["job-3", "clustering", 900]))])).await;
        server.app.execute("update accounts set status = 'suspended'").await;
        let suspended = php(transport, verify()).await;
        server.app.execute("update accounts set status = 'trial'").await;
        server.app.execute("update plans set is_active = false").await;
        let inactive = php(transport, spend()).await;
        server.app.execute("update plans set is_active = true").await;
        for _ in 0..100 {
            server.app.get("/api/v1/integration/verify-key/").key(&server.key).send().await;
        }
        let throttled = php(transport, json!([server.wp("wp_remote_get", "/integration/verify-key/", json!({}))])).await;
        let site = "/api/v1/auth/sites/1/api-key/";
        server.app.delete(site).bearer(&server.ana.access).send().await.expect(200);
        let revoked = php(transport, json!([server.client("balance", json!([]))])).await;

        let of = |told: &Value| (code(told).to_owned(), told["data"]["status"].as_i64().unwrap());
        assert_eq!(of(&told[0]), ("key_unknown".to_owned(), 401));
        assert_eq!(of(&told[1]), ("site_url_changed".to_owned(), 409));
        assert_eq!(of(&told[2]), ("insufficient_credits".to_owned(), 402));
        assert_eq!((&told[2]["data"]["body"]["required"], &told[2]["data"]["body"]["available"]), (&json!(9000), &json!(2000)));
        assert_eq!(of(&suspended[0]), ("account_suspended".to_owned(), 403));
        assert_eq!(of(&inactive[0]), ("plan_inactive".to_owned(), 402));
        assert_eq!((&throttled[0]["status"], &throttled[0]["retry"]), (&json!(429), &json!("1")), "{throttled:?}");
        assert_eq!(of(&revoked[0]), ("key_revoked".to_owned(), 401));
        assert_eq!(server.deductions().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_is_asked_for_again_and_spends_once() {
    for transport in transports().await {
        let server = Server::start().await;
        let by = |way: SocketAddr, job: &str| {
            let mut call = server.client("deduct", json!([job, "clustering", 1]));
            call["base"] = json!(format!("http://{way}/api/v1"));
            call["timeout"] = json!(1);
            call
        };
        let (one_lost, all_lost) = (losing(1, server.address).await, losing(usize::MAX, server.address).await);

        let told = php(transport, json!([by(one_lost, "job-1"), by(all_lost, "job-2"), by(server.address, "job-2")])).await;

        let [after_one, never, by_hand] = &told[..] else { panic!("{told:?}") };
        assert_eq!(after_one["data"]["balance"], 1990, "{after_one}");
        assert_eq!(code(never), "http_request_failed", "{never}");
        assert_eq!(by_hand["data"]["balance"], 1980, "{by_hand}");
        assert_eq!(server.deductions().await, 2);
        server.app.verify().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_far_below_the_time_that_wordpress_waits() {
    let server = Server::start().await;
    let calls = (0..60).flat_map(|n| {
        [
            server.client("verify", json!([])),
            server.client("deduct", json!([format!("job-{n}"), "clustering", 1])),
            server.client("balance", json!([])),
        ]
    });

    let told = php(Transport::Streams, calls.collect()).await;

    let mut seconds = told.iter().map(|told| told["seconds"].as_f64().unwrap()).collect::<Vec<_>>();
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| seconds[(seconds.len() - 1) * percent / 100];
    println!(
        "{} bridge calls from PHP: p50 {:.4} s, p99 {:.4} s, longest {:.4} s; WordPress waits 5 s",
        seconds.len(),
        at(50),
        at(99),
        at(100)
    );
    assert!(told.iter().all(|told| told["error"].is_null()), "{told:?}");
}
