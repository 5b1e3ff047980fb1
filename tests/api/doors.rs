//! Every route × every kind of caller × every account state, as doors.txt says it; and that router, document and that table
//! name the same routes.

use crate::support::{
    Call, PASSWORD, Reply, TestApp,
    tenant::{Tenant, filled, of_no_tenant, slots},
};
use axum::http::Method;
use futures::{StreamExt as _, stream};
use igny8::{
    router,
    web::door::{Door, door_of, operations},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The columns of the tables.
const STATES: [&str; 9] = ["trial", "active", "pending", "suspended", "cancelled", "deleted", "no_plan", "plan_inactive", "no_account"];
/// The rows: people of a customer's account, its site, staff of a system account.
const CALLERS: [&str; 12] = [
    "nobody",
    "cookie",
    "viewer",
    "editor",
    "admin",
    "owner",
    "developer",
    "system_bot",
    "site_key",
    "staff_editor",
    "staff_admin",
    "staff_owner",
];
/// More of them would only wait for each other.
const HOUSES_AT_ONCE: usize = 3;
/// What the doors themselves refuse with; every other answer came from behind the door.
const REFUSALS: [&str; 20] = [
    "authentication_required",
    "malformed_credentials",
    "token_invalid",
    "token_expired",
    "token_revoked",
    "key_unknown",
    "key_revoked",
    "no_plan",
    "plan_inactive",
    "session_not_allowed",
    "site_key_not_allowed",
    "site_key_required",
    "role_required",
    "billing_admin_required",
    "developer_required",
    "no_account",
    "account_suspended",
    "account_cancelled",
    "site_inactive",
    "throttled",
];

/// A line of the first table.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// Its method.
    pub(crate) method: Method,
    /// As the document has it.
    pub(crate) path: String,
    /// Who may.
    pub(crate) class: String,
    /// What to send, where something must be sent to get anywhere.
    pub(crate) body: Option<Value>,
}

/// Who may, and at which of the pipeline's doors.
struct Class {
    door: Door,
    /// Caller and state → what is expected.
    cells: BTreeMap<(String, String), String>,
}

/// The lines of a section by its name, without comments.
fn sections() -> BTreeMap<&'static str, (&'static str, Vec<&'static str>)> {
    let lines = include_str!("doors.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let mut sections = BTreeMap::new();
    let mut name = "";
    for line in lines {
        match line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((head, _)) => {
                let (word, door) = head.split_once(' ').unwrap_or((head, ""));
                assert!(sections.insert(word, (door, Vec::new())).is_none(), "[{word}] stands there twice");
                name = word;
            }
            None => sections.get_mut(name).expect("a line in a section").1.push(line),
        }
    }
    sections
}

/// Every route of the table.
pub(crate) fn routes() -> Vec<Route> {
    let read = |line: &&str| {
        let (method, rest) = line.split_once(' ').expect("a method");
        let (path, rest) = rest.trim_start().split_once(' ').expect("a path");
        let (class, body) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
        let body = Some(body.trim()).filter(|body| !body.is_empty()).map(|body| serde_json::from_str(body).expect("a body in JSON"));
        Route { method: method.parse().expect("a method"), path: path.to_owned(), class: class.to_owned(), body }
    };
    sections()["routes"].1.iter().map(read).collect()
}

fn classes() -> BTreeMap<String, Class> {
    let sections = sections().into_iter().filter(|(name, _)| *name != "routes");
    let read = |(name, (door, rows)): (&str, (&str, Vec<&str>))| {
        let mut cells = BTreeMap::new();
        for row in rows {
            let (callers, words) = row.split_once(' ').expect("callers and cells");
            let words = words.split_whitespace().collect::<Vec<_>>();
            assert_eq!(words.len(), STATES.len(), "[{name}] {callers}: one cell per state");
            for caller in callers.split(',') {
                assert!(CALLERS.contains(&caller), "[{name}] who is {caller}?");
                for (state, word) in STATES.iter().zip(&words) {
                    assert!(["pass", "401", "402", "403", "-"].contains(word), "[{name}] {caller}: what is {word}?");
                    let before = cells.insert((caller.to_owned(), (*state).to_owned()), (*word).to_owned());
                    assert!(before.is_none(), "[{name}] {caller} stands there twice");
                }
            }
        }
        assert_eq!(cells.len(), CALLERS.len() * STATES.len(), "[{name}] lacks a caller");
        (name.to_owned(), Class { door: door.parse().expect("a door"), cells })
    };
    sections.map(read).collect()
}

/// Method and path of every line, in the order of a set.
fn named(routes: &[Route]) -> BTreeSet<String> {
    let names = routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect::<BTreeSet<_>>();
    assert_eq!(names.len(), routes.len(), "a route stands there twice");
    names
}

/// An account in one of the states, with its user and its site.
struct House {
    app: Arc<TestApp>,
    tenant: Tenant,
    state: &'static str,
    /// What the user signs in with; of a user without account another one than at registration.
    access: String,
    is_system: bool,
}

impl House {
    /// A customer's.
    async fn of_customer(app: &Arc<TestApp>, state: &'static str) -> Self {
        let email = format!("{}@example.com", state.replace('_', "-"));
        let tenant = Tenant::new(app, &email).await;
        let mut access = tenant.session.access.clone();
        if state == "no_account" {
            let user = tenant.session.user_id;
            app.run(format!("delete from site_access where user_id = {user}; update users set account_id = null where user_id = {user}"))
                .await;
            let form = json!({ "email": email, "password": PASSWORD });
            let login = app.post("/api/v1/auth/login/").json(form).send().await.expect(200);
            access = login.data()["access"].as_str().expect("a token").to_owned();
        }
        House { app: Arc::clone(app), tenant, state, access, is_system: false }
    }

    /// Staff's own, in a customer's place: the site and the invoice stay the customer's.
    async fn of_staff(app: &Arc<TestApp>, state: &'static str) -> Self {
        let tenant = Tenant::new(app, &format!("beside-staff-{state}@example.com")).await;
        let session = app.log_in("staff@example.com").await;
        House { app: Arc::clone(app), access: session.access.clone(), tenant: Tenant { session, ..tenant }, state, is_system: true }
    }

    /// Undoes whatever the request before did, and gives the user his role.
    async fn reset(&self, role: &str) {
        let (account, user) = (self.tenant.session.account_id, self.tenant.session.user_id);
        let status = match self.state {
            "pending" => "pending_payment",
            "active" | "suspended" | "cancelled" => self.state,
            _ => "trial",
        };
        let plan = match self.state {
            "no_plan" => "null",
            "plan_inactive" => "(select plan_id from plans where slug = 'retired')",
            _ => "(select plan_id from plans where slug = 'growth')",
        };
        let (deleted, until) = if self.state == "deleted" { ("created_at", "created_at + interval '336 hours'") } else { ("null", "null") };
        let (site, sector) = (self.tenant.sites[0], self.tenant.sector);
        let (invitation, hold) = (self.tenant.invitation, self.tenant.hold);
        self.app
            .run(format!(
                "update accounts set status = '{status}', plan_id = {plan}, deleted_at = {deleted}, restore_until = {until} where account_id = {account};
                 update users set role = '{role}', is_active = true, deleted_at = null, restore_until = null, deleted_with_account = false where user_id = {user};
                 update users set deleted_at = created_at, restore_until = created_at where account_id = {account} and user_id <> {user};
                 update invitations set revoked_at = case when invitation_id = {invitation} then null else created_at end where account_id = {account};
                 update sessions set revoked_at = null, revoked_reason = null where user_id = {user};
                 update subscriptions set status = 'trialing', cancel_at_period_end = false, current_period_end = created_at + interval '336 hours'
                 where account_id = {account};
                 update sites set deleted_at = created_at, restore_until = created_at + interval '336 hours' where site_id <> {site} and
                     account_id = (select account_id from sites where site_id = {site});
                 update sites set deleted_at = null, restore_until = null where site_id = {site};
                 delete from site_sectors where site_id = {site};
                 insert into site_sectors (account_id, site_sector_id, site_id, name, created_at)
                 select account_id, {sector}, site_id, 'Tea', created_at from sites where site_id = {site};
                 update site_keys set revoked_at = null, expires_at = null where site_id = {site};
                 update credit_holds set status = 'released', settled_at = created_at where account_id = {account} and hold_seq <> {hold} and status = 'open';
                 update credit_holds set status = 'open', settled_at = null, captured_quantity = null, captured_seq = null
                 where account_id = {account} and hold_seq = {hold};
                 update credit_balances b
                 set held = (select coalesce(sum(amount), 0) from credit_holds h where h.account_id = b.account_id and h.status = 'open')
                 where b.account_id = {account};"
            ))
            .await;
    }

    /// The route's path with what the caller himself owns.
    fn path(&self, route: &Route) -> String {
        let own = |word: &&str| of_no_tenant(word).map_or_else(|| self.tenant.in_slot(word)[0].clone(), str::to_owned);
        filled(&route.path, &slots(&route.path).iter().map(own).collect::<Vec<_>>())
    }

    async fn ask(&self, route: &Route, caller: &str) -> Reply {
        let role = caller.strip_prefix("staff_").unwrap_or(caller);
        self.reset(if ["nobody", "cookie", "site_key"].contains(&role) { "owner" } else { role }).await;
        let call = self.app.request(route.method.clone(), &self.path(route));
        let call = route.body.iter().fold(call, |call, body| call.json(body.clone()));
        let with_credentials = |call: Call| match caller {
            "nobody" => call,
            "cookie" => call.header("cookie", "csrftoken=a; sessionid=b"),
            "site_key" => call.key(&self.tenant.key),
            _ => call.bearer(&self.access),
        };
        with_credentials(call).send().await
    }

    /// Sends every request of this state, and tells each answer that is another than the table's.
    async fn faults(self) -> (usize, Vec<String>) {
        let (routes, classes) = (routes(), classes());
        let (mut asked, mut faults) = (0, Vec::new());
        for route in &routes {
            for caller in CALLERS.into_iter().filter(|caller| caller.starts_with("staff_") == self.is_system) {
                let expected = classes[&route.class].cells[&(caller.to_owned(), self.state.to_owned())].as_str();
                if expected == "-" {
                    continue;
                }
                let reply = self.ask(route, caller).await;
                asked += 1;
                let answer = if told_late(route, &reply) { "pass".to_owned() } else { verdict(&reply) };
                if answer != expected {
                    let (method, path, state) = (&route.method, &route.path, self.state);
                    faults.push(format!("{method} {path} as {caller} of an account in {state}: {answer}, not {expected}: {}", reply.text));
                }
            }
        }
        (asked, faults)
    }
}

/// Whether it is the probe's word that the database took more than half a second of real time, which no test can rule out on a
/// busy machine. It comes from behind the door; that it is right is shown in system.rs.
fn told_late(route: &Route, reply: &Reply) -> bool {
    route.path == "/readyz" && reply.status.as_u16() == 503 && reply.body["code"] == "database_unavailable"
}

/// `pass`, or the status with which a door refused. What no answer may be is told as such.
fn verdict(reply: &Reply) -> String {
    let (status, code) = (reply.status.as_u16(), reply.body["code"].as_str().unwrap_or(""));
    let sentence = reply.body["error"].as_str().unwrap_or("").to_lowercase();
    let logs_the_spa_out = sentence.contains("authentication credentials") || sentence.contains("not authenticated");
    match status {
        500.. | 204 | 300..=399 | 405 | 415 | 429 => format!("{status}, which nothing here may answer"),
        401 if reply.header("www-authenticate") != "Bearer" => "401 without WWW-Authenticate".to_owned(),
        403 if logs_the_spa_out => "403 in words that log the SPA out".to_owned(),
        _ if REFUSALS.contains(&code) => status.to_string(),
        _ => "pass".to_owned(),
    }
}

async fn unthrottled() -> Arc<TestApp> {
    Arc::new(TestApp::with(|config| config.throttle_disabled = true).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e_every_route_answers_every_caller_in_every_account_state_as_the_table_says() {
    let app = unthrottled().await;
    app.run(
        "insert into plans (slug, name, price, billing_cycle, max_sites, max_users, max_sectors, assignment, throttle_factor, is_active, created_at, updated_at)
         values ('retired', 'Retired', 0, 'monthly', 1, 1, 1, 'manual', 1, false, '2026-01-01Z', '2026-01-01Z')"
            .to_owned(),
    )
    .await;
    app.operator().await;

    // A house for each state, a few at a time; what one request changes is undone before the next in the same house.
    let customers = stream::iter(STATES).map(|state| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { House::of_customer(&app, state).await.faults().await })
    });
    let mut told = customers.buffer_unordered(HOUSES_AT_ONCE).map(|told| told.expect("the house stands")).collect::<Vec<_>>().await;
    // There is one system account, and it has one state at a time.
    for state in ["trial", "active"] {
        told.push(House::of_staff(&app, state).await.faults().await);
    }

    let asked = told.iter().map(|(asked, _)| asked).sum::<usize>();
    let faults = told.into_iter().flat_map(|(_, faults)| faults).collect::<Vec<_>>();
    assert!(faults.is_empty(), "{} of {asked} answers are not as tests/api/doors.txt says:\n{}", faults.len(), faults.join("\n"));
    assert!(asked > 3_000, "only {asked} requests were sent");
}

#[tokio::test]
async fn router_document_and_table_name_the_same_routes_behind_the_same_doors() {
    let app = TestApp::start().await;
    let (router, document) = router::routes(&app.state);
    let (table, classes) = (routes(), classes());

    let documented = table.iter().filter(|route| route.class != "page").cloned().collect::<Vec<_>>();
    let in_document = operations(&document).map(|(path, method, _)| format!("{method} {path}")).collect::<BTreeSet<_>>();
    let doors = operations(&document).map(|(path, method, operation)| (format!("{method} {path}"), door_of(operation)));
    let doors = doors.collect::<BTreeMap<_, _>>();
    let in_router = in_router(&app, &format!("{router:?}")).await;

    let hint = "give the route a line in tests/api/doors.txt (left: the table)";
    assert_eq!(named(&documented), in_document, "{hint}");
    // The document ends its paths with a slash, the router does not.
    let bare = |name: &String| name.trim_end_matches('/').to_owned();
    assert_eq!(named(&table).iter().map(bare).collect::<BTreeSet<_>>(), in_router, "{hint}");
    for route in documented {
        let name = format!("{} {}", route.method, route.path);
        let class = classes.get(&route.class).unwrap_or_else(|| panic!("{name}: there is no table [{}]", route.class));
        assert_eq!(doors[&name], class.door, "{name} stands at another door than [{}] says", route.class);
    }
    let used = table.iter().map(|route| route.class.clone()).collect::<BTreeSet<_>>();
    assert_eq!(classes.into_keys().collect::<BTreeSet<_>>(), used, "a table that no route needs");
}

/// What the router itself knows: its paths, as it prints them, and their methods, as it answers a method that nobody has.
async fn in_router(app: &TestApp, printed: &str) -> BTreeSet<String> {
    let path = regex_lite::Regex::new(r#"RouteId\(\d+\): "(/[^"]*)""#).expect("a pattern");
    // Its fallback is a router too, with paths of its own that stand for all others.
    let (printed, _) = printed.split_once("fallback_router").expect("a router as axum prints it");
    let paths = path.captures_iter(printed).map(|found| found[1].to_owned()).collect::<BTreeSet<_>>();
    let mut routes = BTreeSet::new();
    for path in paths {
        let values = slots(&path).iter().map(|_| "1".to_owned()).collect::<Vec<_>>();
        let reply = app.request(Method::from_bytes(b"PROBE").expect("a method"), &filled(&path, &values)).send().await;
        assert_eq!(reply.status.as_u16(), 405, "{path}: {}", reply.text);
        // HEAD comes with every GET.
        let methods = reply.header("allow");
        routes.extend(methods.split(',').filter(|method| *method != "HEAD").map(|method| format!("{method} {path}")));
    }
    assert!(routes.len() > 50, "the router prints its paths in another way: {routes:?}");
    routes
}

#[tokio::test]
async fn every_path_is_served_with_and_without_its_slash_and_never_redirected() {
    let app = unthrottled().await;
    let house = House::of_customer(&app, "trial").await;

    for route in routes() {
        let path = house.path(&route);
        let bare = path.trim_end_matches('/');
        let mut answers = Vec::new();
        for path in [bare.to_owned(), format!("{bare}/"), format!("{bare}/?page=1")] {
            house.reset("owner").await;
            let call = app.request(route.method.clone(), &path).bearer(&house.access);
            let reply = route.body.iter().fold(call, |call, body| call.json(body.clone())).send().await;
            let status = if told_late(&route, &reply) { 200 } else { reply.status.as_u16() };
            let code = reply.body["code"].as_str().filter(|_| status != 200).map(str::to_owned);
            answers.push((status, code, reply.header("location")));
        }

        let [first, second, third] = &answers[..] else { unreachable!("three requests") };
        assert!(first == second && second == third, "{} {path}: {answers:?}", route.method);
        // Nobody's number stands in these paths, so nothing here is absent but a transfer's account, or a site that lives.
        let is_found = first.0 != 404 || ["operator", "admin"].contains(&route.class.as_str());
        assert!(first.0 != 405 && !(300..=399).contains(&first.0) && first.2.is_empty() && is_found, "{} {path}: {first:?}", route.method);
    }
}
