//! What nobody sane sends. Every request is made from a seed, so that one that breaks something can be sent again: 20,000
//! malformed ones against all routes of the document, and as many near its schemas as show that it tells every status.
//! `HOSTILE_REQUESTS=100000 cargo test --test api -- --nocapture malformed_requests` is the long run.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]
#![allow(clippy::disallowed_methods, reason = "how the tests are run is no setting of the application")]

use crate::support::{Call, PASSWORD, Reply, Session, TestApp};
use axum::http::{Method, Uri};
use futures::{StreamExt as _, stream};
use igny8::{
    accounts::service::create_developer,
    auth::{
        model::{Email, Password},
        passwords::NewPassword,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

/// Requests that make no sense, unless `HOSTILE_REQUESTS` says how many.
const MALFORMED: u64 = 20_000;
/// Requests that nearly, or quite, make sense.
const NEARLY_VALID: u64 = 8_000;
/// Requests more for each operation that never succeeded.
const MORE_EACH: u64 = 300;
/// Requests of one cast of callers; then a new one comes, for some sign themselves out or delete their accounts.
const BATCH: u64 = 200;
/// Batches at once.
const BATCHES_AT_ONCE: usize = 6;

/// What only succeeds with a token that comes by mail, with the id of something that nobody here has made, or a moment after the
/// account was deleted.
const SELDOM_DONE: &[&str] = &[
    "PATCH /api/v1/billing/admin/payment-methods/{method}/",
    "GET /api/v1/billing/invoices/{id}/download_pdf/",
    "POST /api/v1/billing/admin/accounts/{id}/trial-extension/",
    "POST /api/v1/billing/admin/approvals/{id}/approve/",
    "POST /api/v1/billing/admin/approvals/{id}/reject/",
    "GET /api/v1/billing/admin/statements/{id}/",
    "POST /api/v1/billing/admin/statements/",
    "POST /api/v1/billing/admin/statements/{id}/apply/",
    "POST /api/v1/billing/admin/invoices/{id}/void/",
    "POST /api/v1/billing/admin/payments/{id}/approve/",
    "POST /api/v1/billing/admin/payments/{id}/reject/",
    "POST /api/v1/billing/admin/transfers/{external_payment_id}/reverse/",
    "POST /api/v1/billing/invoices/{id}/report-transfer/",
    "DELETE /api/v1/auth/invitations/{id}/",
    "POST /api/v1/auth/invitations/{id}/resend/",
    "DELETE /api/v1/auth/sessions/{id}/",
    "DELETE /api/v1/auth/sites/{id}/sectors/{sector_id}/",
    "DELETE /api/v1/auth/users/{id}/",
    "GET /api/v1/billing/credits/holds/{id}/",
    "GET /api/v1/billing/invoices/{id}/",
    "POST /api/v1/account/downgrade/",
    "DELETE /api/v1/account/downgrade/",
    "POST /api/v1/account/restore/",
    "POST /api/v1/account/resume/",
    "POST /api/v1/auth/change-email/",
    "POST /api/v1/auth/change-email/confirm/",
    "POST /api/v1/auth/invitations/accept/",
    "POST /api/v1/auth/mfa/activate/",
    "POST /api/v1/auth/mfa/disable/",
    "POST /api/v1/auth/mfa/enroll/",
    "POST /api/v1/auth/mfa/recovery-codes/",
    "POST /api/v1/auth/password-reset/confirm/",
    "POST /api/v1/auth/sites/{id}/restore/",
    "POST /api/v1/auth/sites/{id}/url-conflict/",
    "POST /api/v1/auth/users/{id}/mfa/reset/",
    "POST /api/v1/auth/users/{id}/restore/",
    "POST /api/v1/auth/verify-email/",
    "POST /api/v1/billing/admin/accounts/{id}/transactions/{seq}/refund/",
    "POST /api/v1/billing/credits/holds/{id}/capture/",
    "POST /api/v1/billing/credits/holds/{id}/release/",
    "POST /api/v1/billing/credits/quote/",
];

/// Chance that can be repeated (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, at_most: usize) -> Vec<u8> {
        (0..1 + self.below(at_most)).map(|_| u8::try_from(self.next() % 256).unwrap()).collect()
    }
}

// --- The document ------------------------------------------------------------------------------------------------

/// An operation, as the document has it.
#[derive(Debug)]
struct Operation {
    method: Method,
    /// With slots in braces.
    path: String,
    parameters: Vec<Value>,
    /// The body's schema.
    body: Option<Value>,
    statuses: BTreeSet<u16>,
}

struct Document {
    whole: Value,
    operations: Vec<Operation>,
}

impl Document {
    async fn of(app: &TestApp) -> Self {
        let whole = app.get("/api/v1/openapi.json").send().await.expect(200).body;
        let mut operations = Vec::new();
        for (path, item) in whole["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations.push(Operation {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path.clone(),
                    parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
                    body: operation["requestBody"]["content"].get("application/json").map(|content| content["schema"].clone()),
                    statuses: operation["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap()).collect(),
                });
            }
        }
        assert!(operations.len() > 40, "{}", operations.len());
        Document { whole, operations }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.resolved(self.whole.pointer(reference.trim_start_matches('#')).unwrap()),
            None => schema,
        }
    }
}

// --- Who calls ---------------------------------------------------------------------------------------------------

/// The callers of one batch.
struct Cast {
    owner: Session,
    suspended: Session,
    staff: Session,
    site: i64,
    key: String,
}

impl Cast {
    async fn new(app: &TestApp, batch: u64) -> Self {
        let owner = app.register(&format!("owner{batch}@example.com")).await;
        let suspended = app.register(&format!("suspended{batch}@example.com")).await;
        let site = app.post("/api/v1/auth/sites/").bearer(&owner.access).json(json!({"name": "Blog"})).send().await.expect(201);
        let site = site.data()["id"].as_i64().unwrap();
        let key = app.post(&format!("/api/v1/auth/sites/{site}/api-key/")).bearer(&owner.access).send().await.expect(201);
        let staff = staff(app, batch).await;
        let path = format!("/api/v1/billing/admin/accounts/{}/suspend/", suspended.account_id);
        app.post(&path).bearer(&staff.access).json(json!({"reason": "a test"})).send().await.expect(200);
        Cast { owner, suspended, staff, site, key: key.data()["key"].as_str().unwrap().to_owned() }
    }

    /// Somebody, mostly known.
    fn signed(&self, dice: &mut Dice, call: Call) -> Call {
        let is_for_staff = call.path().contains("/admin/") || call.path().contains("/confirm-bank-transfer");
        match dice.below(12) {
            3.. if is_for_staff => call.bearer(&self.staff.access),
            0 => call,
            1 => call.bearer(&self.suspended.access),
            2 | 3 => call.key(&self.key),
            4..=6 => call.bearer(&self.staff.access),
            _ => call.bearer(&self.owner.access),
        }
    }
}

/// Staff of one batch's own: some sign themselves out, or change their password.
async fn staff(app: &TestApp, batch: u64) -> Session {
    let email = format!("staff{batch}@example.com");
    let password = NewPassword::parse(Password(PASSWORD.into())).unwrap();
    create_developer(app.state.desk(), &Email::parse(&email).unwrap(), &password, app.now()).await.unwrap();
    app.log_in(&email).await
}

// --- Requests that are nearly valid ------------------------------------------------------------------------------

/// JSON values that something once broke on. Some are no JSON at all.
fn evil_value(dice: &mut Dice) -> String {
    let deep = |open: &str, close: &str, depth: usize| format!("{}{}", open.repeat(depth), close.repeat(depth));
    match dice.below(10) {
        0 => deep("[", "]", 1 + dice.below(200)),
        1 => format!("{}1{}", "{\"a\":".repeat(150), "}".repeat(150)),
        2 => format!("\"{}\"", dice.pick(&["x", "ä", "😀", "\\u0001", " ", "a,"]).repeat(1 + dice.below(1_500))),
        3 => format!("[{}0]", "0,".repeat(dice.below(2_000))),
        4 => format!("{}", dice.next().cast_signed()),
        _ => dice
            .pick(&[
                "\"\\u0000\"",
                "\"a\\u0000b\"",
                "\"\\ud800\"",
                "\"\\udc00\\ud800\"",
                "\"\\\\u0000\"",
                "{\"a\\u0000\":1}",
                "{\"a\":[{\"b\":\"\\u0000\"}]}",
                "1e400",
                "-1e400",
                "1e-400",
                "-0",
                "0",
                "-1",
                "1.0",
                "0.1",
                "1e2",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775808",
                "18446744073709551616",
                "1000000000000",
                "2147483648",
                "89.001",
                "89",
                "null",
                "true",
                "false",
                "\"\"",
                "\" \"",
                "\"\\n\"",
                "\"\\r\\n\"",
                "\"\\t\"",
                "\"true\"",
                "\"1\"",
                "\"NaN\"",
                "NaN",
                "\"Infinity\"",
                "\"0x10\"",
                "\"１２\"",
                "\"\\u202e\"",
                "\"\\ufeff\"",
                "\"\\uffff\"",
                "[]",
                "{}",
                "[null]",
                "[[]]",
                "{\"\":\"\"}",
                "\"2026-02-30\"",
                "\"-262143-01-01\"",
                "\"+262142-12-31\"",
                "\"0000-00-00\"",
                "\"2026-03-01T24:00:00Z\"",
                "\"-262143-01-01T00:00:00Z\"",
                "\"+262142-12-31T23:59:59Z\"",
                "\"2026-03-01T00:00:60Z\"",
                "\"2026-03-01T00:00:00+99:00\"",
                "\"'; drop table users; --\"",
                "\"${jndi:ldap://x}\"",
                "\"../../etc/passwd\"",
                "\"<script>alert(1)</script>\"",
                "\"enterprise\"",
                "\"default\"",
                "\"%00\"",
                "\"a@b.c\"",
                "\"a@b\\u0000.c\"",
                "\"https://a.b/\\u0000\"",
                "\"http://[::1]:99999/\"",
                "\"igny8_\"",
                "\"a.b.c\"",
            ])
            .to_owned(),
    }
}

/// A value that the schema allows, as far as it says what it allows.
fn valid_value(dice: &mut Dice, document: &Document, cast: &Cast, name: &str, schema: &Value) -> String {
    let schema = document.resolved(schema);
    if let Some(words) = schema["enum"].as_array() {
        return words[dice.below(words.len())].to_string();
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[several].as_array() {
            let at = if dice.percent(80) { 0 } else { dice.below(choices.len()) };
            return valid_value(dice, document, cast, name, &choices[at]);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].as_array().and_then(|kinds| kinds[0].as_str()));
    let least = schema["minimum"].as_i64().unwrap_or(1);
    match kind {
        Some("boolean") => dice.pick(&["true", "false"]).to_owned(),
        Some("integer") if name == "account_id" => cast.owner.account_id.to_string(),
        Some("integer") => (least + i64::try_from(dice.below(20)).unwrap()).to_string(),
        Some("array") => {
            let items = (0..dice.below(4)).map(|_| valid_value(dice, document, cast, name, &schema["items"])).collect::<Vec<_>>();
            format!("[{}]", items.join(","))
        }
        Some("object") => dice.pick(&["{}", "{\"post\":7}", "{\"lines\":[\"Street 1\",\"Town\"]}"]).to_owned(),
        _ => Value::String(valid_text(dice, cast, name, schema["format"].as_str())).to_string(),
    }
}

fn valid_text(dice: &mut Dice, cast: &Cast, name: &str, format: Option<&str>) -> String {
    match (name, format) {
        ("Idempotency-Key", _) => format!("key-{}", dice.below(60)),
        ("plan_slug", _) => dice
            .pick(&["starter", "starter", "starter", "starter", "starter", "starter", "growth", "enterprise", "free", "nothing"])
            .to_owned(),
        ("account_slug", _) => format!("owner{}", dice.below(50)),
        ("invoice_number", _) => format!("INV-{}-202603-0001", cast.owner.account_id),
        ("amount" | "price", _) => dice.pick(&["89.00", "89.00", "89.00", "89.00", "89.00", "89.00", "139", "0.01", "0"]).to_owned(),
        ("currency", _) => dice.pick(&["USD", "usd", "EUR"]).to_owned(),
        ("external_payment_id", _) => format!("BT-{}", dice.below(400)),
        ("refresh", _) => cast.owner.refresh.clone(),
        ("slug", _) => format!("site-{}", dice.below(5)),
        ("url", _) => "https://blog.example.com/".to_owned(),
        ("cursor", _) => dice.pick(&["YTk", "YjA", "YTk5OTk"]).to_owned(),
        ("operation", _) => dice.pick(&["clustering", "content_generation"]).to_owned(),
        (_, Some("email")) => {
            let somebody = format!("somebody{}@example.com", dice.below(10_000));
            dice.pick(&[cast.owner.email.as_str(), &somebody, &somebody]).to_owned()
        }
        (_, Some("password")) => dice.pick(&[PASSWORD, PASSWORD, PASSWORD, "another long password"]).to_owned(),
        (_, Some("date-time")) => dice.pick(&["2026-03-01T00:00:00Z", "2026-03-01T01:00:00.5+01:00"]).to_owned(),
        (_, Some("date")) => "2026-03-01".to_owned(),
        (_, Some("uuid")) => uuid::Uuid::from_u128(u128::from(dice.next())).to_string(),
        ("features", _) => dice.pick(&["ai_writer", "image_gen", "auto_publish"]).to_owned(),
        _ => dice.pick(&["a", "Blog & more", "ai_writer", "Grüße", "😀"]).to_owned(),
    }
}

/// What stands in a path's slot: one segment, whatever it is.
fn slot(dice: &mut Dice, cast: &Cast, operation: &Operation, name: &str) -> String {
    if dice.percent(65) {
        return match name {
            "slug" => dice.pick(&["scale", "growth", "nothing"]).to_owned(),
            "operation" => dice.pick(&["clustering", "image_generation"]).to_owned(),
            _ if operation.path.ends_with("/reactivate/") => cast.suspended.account_id.to_string(),
            _ if operation.path.contains("/admin/accounts/") => cast.owner.account_id.to_string(),
            _ if operation.path.contains("/sites/") => cast.site.to_string(),
            _ if operation.path.contains("/invoices/") => (1 + dice.below(20)).to_string(),
            _ if operation.path.contains("/sessions/") => uuid::Uuid::from_u128(7).to_string(),
            _ => dice.below(30).to_string(),
        };
    }
    match dice.below(8) {
        0 => "9".repeat(1 + dice.below(3_000)),
        1 => dice.bytes(20).iter().map(|byte| format!("%{byte:02X}")).collect(),
        _ => dice
            .pick(&[
                "0",
                "-1",
                "9223372036854775807",
                "9223372036854775808",
                "-9223372036854775808",
                "1e3",
                "0x1",
                "+1",
                "1.0",
                "%31",
                "%00",
                "1%00",
                "%ff%fe",
                "%c0%80",
                "a%2Fb",
                "..%2f..",
                "%2e%2e",
                "..",
                ".",
                "%",
                "%zz",
                "%20",
                "1%20",
                "%EF%BC%91",
                "null",
                "undefined",
                "*",
                "'",
                "1;",
                "@",
                "~",
                "{id}",
                "default",
            ])
            .to_owned(),
    }
}

/// A request at an operation, of good or bad will; the path leads to that operation and no other.
fn near(dice: &mut Dice, document: &Document, cast: &Cast, app: &TestApp, operation: &Operation, malice: usize) -> Option<Call> {
    let mut path = operation.path.clone();
    let mut query = Vec::new();
    let mut headers = Vec::new();
    for parameter in &operation.parameters {
        let name = parameter["name"].as_str().unwrap();
        let text = |dice: &mut Dice| {
            let json = if dice.percent(malice) { evil_value(dice) } else { valid_value(dice, document, cast, name, &parameter["schema"]) };
            serde_json::from_str::<String>(&json).unwrap_or(json)
        };
        match parameter["in"].as_str().unwrap() {
            "path" => path = path.replace(&format!("{{{name}}}"), &slot(dice, cast, operation, name)),
            "query" if dice.percent(60) => query.push((name, text(dice))),
            "header" if dice.percent(60) => headers.push((name, text(dice))),
            _ => {}
        }
    }
    if dice.percent(50) {
        path = path.trim_end_matches('/').to_owned();
    }
    if !query.is_empty() {
        path = format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish());
    }
    path.parse::<Uri>().ok()?;
    let mut call = cast.signed(dice, app.request(operation.method.clone(), &path));
    for (name, value) in headers {
        let bytes = value.bytes().filter(|byte| *byte >= 32 && *byte != 127).collect::<Vec<_>>();
        call = call.header_bytes(name, &bytes);
    }
    if dice.percent(10) {
        call = call.header("accept", dice.pick(&["text/plain", "application/problem+json", "text/csv", "*/*", ""]));
    }
    Some(match &operation.body {
        Some(schema) => with_body(dice, document, cast, call, schema, malice),
        None => call,
    })
}

fn with_body(dice: &mut Dice, document: &Document, cast: &Cast, call: Call, schema: &Value, malice: usize) -> Call {
    let schema = document.resolved(schema);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut fields = Vec::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.iter().any(|known| known == name.as_str());
        let chance = match name.as_str() {
            _ if is_required => 97,
            "account_id" => 90,
            "currency" | "accept_amount_mismatch" => 10,
            "account_slug" | "invoice_number" => 4, // one of the three is wanted
            _ => 40,
        };
        if dice.percent(chance) {
            let value = if dice.percent(malice) { evil_value(dice) } else { valid_value(dice, document, cast, name, field) };
            fields.push((name.clone(), value));
        }
    }
    if dice.percent(malice) {
        fields.push(((*dice.pick(&["", "is_superuser", "role", "account_id", "a\\u0000"])).to_owned(), evil_value(dice)));
    }
    if dice.percent(25) {
        let plain = |value: String| serde_json::from_str::<String>(&value).unwrap_or(value);
        let pairs = fields.into_iter().map(|(name, value)| (name, plain(value)));
        return call.form(&form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    }
    let members = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>();
    call.body("application/json", format!("{{{}}}", members.join(",")))
}

// --- Requests without sense --------------------------------------------------------------------------------------

fn wild(dice: &mut Dice, document: &Document, cast: &Cast, app: &TestApp) -> Option<Call> {
    let operation = &document.operations[dice.below(document.operations.len())];
    let mut path = operation.path.replace("{id}", "1").replace("{slug}", "starter").replace("{operation}", "clustering");
    for _ in 0..dice.below(3) {
        wild_path(dice, cast, operation, &mut path);
    }
    if dice.percent(50) {
        path = format!("{path}?{}", wild_query(dice));
    }
    path.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'))?;
    let method = match dice.below(10) {
        0 => dice.pick(&[&Method::OPTIONS, &Method::TRACE, &Method::CONNECT, &Method::HEAD, &Method::PUT, &Method::DELETE]),
        1 => return Some(cast.signed(dice, app.request("M-SEARCH".parse().unwrap(), &path))),
        _ => &operation.method,
    }
    .clone();
    let mut call = app.request(method, &path);
    call = if dice.percent(70) { cast.signed(dice, call) } else { call };
    for _ in 0..dice.below(4) {
        call = wild_header(dice, call);
    }
    Some(wild_body(dice, call))
}

fn wild_path(dice: &mut Dice, cast: &Cast, operation: &Operation, path: &mut String) {
    match dice.below(7) {
        0 => path.push_str(dice.pick(&["/", "//", "/..", "/%2e%2e/", "/%00", "%0d%0a", ";a=b", "/\u{7e}", "/a/b/c/d/e/f", ".json", "%"])),
        1 => *path = path.replacen('/', "//", 1),
        2 => *path = format!("/{}", "a/".repeat(dice.below(2_000))),
        3 => *path = path.to_uppercase(),
        4 => *path = format!("/api/docs/assets/{}", slot(dice, cast, operation, "name")),
        5 => *path = format!("{}{}", path.trim_end_matches('/'), "x".repeat(dice.below(30_000))),
        _ => {
            // One byte of it, written in another way.
            let at = dice.below(path.len());
            let byte = path.as_bytes()[at];
            path.replace_range(at..=at, &format!("%{byte:02x}"));
        }
    }
}

fn wild_query(dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => "a=1&".repeat(dice.below(3_000)),
        1 => format!("page={}&page_size={}&cursor={}", dice.next(), dice.next(), dice.next()),
        2 => dice.bytes(60).iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        }),
        3 => format!("cursor={}", dice.pick(&["YTk5OTk5OTk5OTk5OTk5OTk5OTk5", "YS0x", "Yg", "%00", "YTkyMjMzNzIwMzY4NTQ3NzU4MDc", "YjA"])),
        _ => dice
            .pick(&[
                "",
                "&",
                "=",
                "===&&&",
                "%",
                "%zz",
                "%00=%00",
                "page=%00",
                "page=1&page=2",
                "page[]=1",
                "page[a][b]=1",
                "a[[[[]]]]=1",
                "a]=1&a[=2",
                "from=-262143-01-01T00:00:00Z",
                "to=%2B262142-12-31T23:59:59Z",
                "from=&to=&type=&operation=",
                "type=%00",
                "count=maybe",
                "page=-1",
                "from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59.999999999Z",
                "page_size=101",
                "page=100000",
                "page=1e1",
            ])
            .to_owned(),
    }
}

fn wild_header(dice: &mut Dice, call: Call) -> Call {
    let name = dice.pick(&[
        "authorization",
        "cookie",
        "content-type",
        "accept",
        "idempotency-key",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "host",
        "user-agent",
        "x-api-key",
        "x-igny8-api-key",
        "origin",
        "content-encoding",
        "expect",
        "range",
        "if-none-match",
        "forwarded",
        "access-control-request-method",
        "x-http-method-override",
        "content-length",
        "te",
        "upgrade",
    ]);
    match dice.below(6) {
        0 => call.header_bytes(name, &dice.bytes(64).into_iter().filter(|byte| *byte >= 32 && *byte != 127).collect::<Vec<_>>()),
        1 => call.header(name, &"x".repeat(dice.below(10_000))),
        _ => call.header(
            name,
            dice.pick(&[
                "",
                " ",
                "Bearer",
                "Bearer ",
                "bearer a.b.c",
                "Bearer a.b",
                "Bearer ....",
                "Basic eDp5",
                "Bearer igny8_",
                "Bearer eyJhbGciOiJub25lIn0.e30.",
                "Token a",
                "sessionid=1",
                "sessionid=\"",
                "a=b;;;=",
                "text/plain",
                "application/json; charset=latin1",
                "multipart/form-data",
                "application/problem+json",
                "*/*;q=9",
                "1.1.1.1, , ::",
                "fe80::1%eth0",
                "a b",
                "localhost:99999",
                "http://[",
                "null",
                "100-continue",
                "gzip",
                "bytes=0-99999999999",
                "*",
                "DELETE",
                "websocket",
                "-1",
                "\"",
            ]),
        ),
    }
}

fn wild_body(dice: &mut Dice, call: Call) -> Call {
    let kind = *dice.pick(&[
        &"application/json",
        &"application/json",
        &"application/json",
        &"application/x-www-form-urlencoded",
        &"application/x-www-form-urlencoded",
        &"text/plain",
        &"application/vnd.a+json",
        &"multipart/form-data; boundary=a",
        &"",
        &";",
    ]);
    let body = match dice.below(12) {
        0 => return call,
        1 => dice.bytes(200),
        2 => b"[".repeat(1 + dice.below(100_000)),
        3 => b"{\"a\":".repeat(1 + dice.below(20_000)),
        4 => format!("{{\"email\":{}, \"password\":{}}}", evil_value(dice), evil_value(dice)).into_bytes(),
        5 => [b"{\"email\": \"".as_slice(), &dice.bytes(30), b"\"}"].concat(),
        6 => b"a%00=%ff&".repeat(dice.below(1_500)),
        7 => format!("{}={}&x[{}]={}", "k".repeat(dice.below(3_000)), "v".repeat(dice.below(3_000)), dice.next(), dice.next()).into_bytes(),
        8 => vec![b' '; dice.below(300_000)],
        9 => evil_value(dice).into_bytes(),
        10 => [b"\xef\xbb\xbf".as_slice(), b"{}"].concat(),
        _ => dice
            .pick(&[
                "",
                "{",
                "}",
                "null",
                "[]",
                "\"\"",
                "{}{}",
                "{\"a\":1,}",
                "{'a':1}",
                "{\"a\":1 \"b\":2}",
                "{\"a\":\u{0}}",
                "// {}",
                "{\"a\":01}",
                "{\"\":{}}",
                "{\"email\":\"a\",\"email\":\"b\"}",
                "email=a&email=b",
                "a[b",
                "a]b",
                "[]=1",
                "a[]=1&a=2&a[b]=3",
                "%",
                "&&&&",
                "=",
                "{\"quantity\":1e999}",
            ])
            .as_bytes()
            .to_vec(),
    };
    call.body(kind, body)
}

/// One of the document's operations. What ends sessions or accounts comes seldom, or everything else would meet the door only.
fn any_operation(dice: &mut Dice, document: &Document) -> usize {
    loop {
        let at = dice.below(document.operations.len());
        let Operation { method, path, .. } = &document.operations[at];
        let ends_something = ["logout", "password", "cancel", "suspend", "refresh", "logout-all"].iter().any(|word| path.contains(word))
            || *method == Method::DELETE
            || path.ends_with("/plan/");
        if !ends_something || dice.percent(10) {
            return at;
        }
    }
}

// --- What must come back -----------------------------------------------------------------------------------------

/// What is wrong with an answer, if anything is.
fn fault(reply: &Reply, method: &Method) -> Option<String> {
    let status = reply.status.as_u16();
    let id = reply.header("x-request-id");
    if !(200..500).contains(&status) || (300..400).contains(&status) || status == 204 {
        return Some(format!("{status}"));
    }
    if id.is_empty() || reply.header("x-content-type-options") != "nosniff" {
        return Some("undressed".to_owned());
    }
    // No body belongs to these; and a browser's preflight is answered by headers alone.
    if *method == Method::HEAD || *method == Method::OPTIONS || *method == Method::CONNECT {
        return None;
    }
    let kind = reply.header("content-type");
    let body = &reply.body;
    let is_right = match (status < 300, kind.as_str()) {
        (true, "application/json") => body["success"] == true && body["request_id"] == id.as_str() || body["openapi"].is_string(),
        (true, "application/pdf") => reply.bytes.starts_with(b"%PDF-"),
        (true, "image/svg+xml") => reply.bytes.starts_with(b"<svg ") && reply.text.ends_with("</svg>\n"),
        (true, _) => kind.starts_with("text/"),
        (false, "application/json") => {
            let sentence = body["error"].as_str().unwrap_or("");
            body["success"] == false && !sentence.is_empty() && body["code"].is_string() && body["request_id"] == id.as_str()
        }
        (false, "application/problem+json") => body["status"] == status && body["code"].is_string() && body["request_id"] == id.as_str(),
        (false, _) => false,
    };
    (!is_right).then(|| "not in the envelope".to_owned())
}

/// What came of a batch.
#[derive(Default)]
struct Outcome {
    /// A line for each fault.
    faults: Vec<String>,
    /// Operations that did what was asked.
    done: BTreeSet<String>,
}

/// Sends batches of requests made by `request`.
async fn send_all<F>(count: u64, request: F) -> Outcome
where
    F: Fn(&mut Dice, &Document, &Cast, &TestApp) -> Option<(Call, Option<usize>)> + Send + Sync + 'static,
{
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    let document = Arc::new(Document::of(&app).await);
    let request = Arc::new(request);
    let batches = (0..count.div_ceil(BATCH)).map(|batch| {
        let (app, document, request) = (Arc::clone(&app), Arc::clone(&document), Arc::clone(&request));
        tokio::spawn(async move {
            let (mut dice, cast, mut outcome) = (Dice(batch), Cast::new(&app, batch).await, Outcome::default());
            let mut sent = 0;
            while sent < BATCH {
                let Some((call, operation)) = request(&mut dice, &document, &cast, &app) else { continue };
                sent += 1;
                let (shown, method) = (call.shown(), call.method().clone());
                let reply = call.send().await;
                let operation = operation.map(|at| &document.operations[at]);
                let undocumented = operation.filter(|operation| !operation.statuses.contains(&reply.status.as_u16()));
                let wrong = fault(&reply, &method).or_else(|| undocumented.map(|operation| format!("undocumented at {}", operation.path)));
                let done = operation.filter(|_| reply.status.is_success());
                outcome.done.extend(done.map(|operation| format!("{} {}", operation.method, operation.path)));
                outcome.faults.extend(wrong.map(|wrong| format!("{wrong}: {shown}\n    {} {}", reply.status, reply.text)));
            }
            outcome
        })
    });
    let mut all = Outcome::default();
    let mut outcomes = stream::iter(batches).buffer_unordered(BATCHES_AT_ONCE);
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome.unwrap();
        all.faults.extend(outcome.faults);
        all.done.extend(outcome.done);
    }
    app.verify().await;
    all
}

#[track_caller]
fn assert_none(faults: &[String]) {
    let shown = faults.iter().take(40).map(|fault| fault.chars().take(900).collect::<String>()).collect::<Vec<_>>();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), shown.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_never_break_anything() {
    let count = std::env::var("HOSTILE_REQUESTS").ok().map_or(MALFORMED, |count| count.parse().expect("HOSTILE_REQUESTS is a number"));

    let outcome = send_all(count, |dice, document, cast, app| {
        if dice.percent(60) {
            return wild(dice, document, cast, app).map(|call| (call, None));
        }
        let at = any_operation(dice, document);
        near(dice, document, cast, app, &document.operations[at], 60).map(|call| (call, Some(at)))
    })
    .await;

    println!("{count} malformed requests, {} faults", outcome.faults.len());
    assert_none(&outcome.faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_status_that_comes_back_is_documented_for_its_operation() {
    let outcome = send_all(NEARLY_VALID, |dice, document, cast, app| {
        let at = any_operation(dice, document);
        near(dice, document, cast, app, &document.operations[at], 8).map(|call| (call, Some(at)))
    })
    .await;

    assert_none(&outcome.faults);
    // Else the document says of some operation what nobody can send, or this test sends nonsense. What luck left out is sent
    // more often before that is said.
    let document = Document::of(&TestApp::start().await).await;
    let name = |at: &usize| format!("{} {}", document.operations[*at].method, document.operations[*at].path);
    let all = (0..document.operations.len()).filter(|at| !SELDOM_DONE.contains(&name(at).as_str()));
    let left_out = Arc::new(all.filter(|at| !outcome.done.contains(&name(at))).collect::<Vec<_>>());
    let places = Arc::clone(&left_out);
    let more = send_all(MORE_EACH * u64::try_from(left_out.len()).unwrap(), move |dice, document, cast, app| {
        let at = places[dice.below(places.len())];
        near(dice, document, cast, app, &document.operations[at], 2).map(|call| (call, Some(at)))
    })
    .await;
    assert_none(&more.faults);
    let never = left_out.iter().map(name).filter(|name| !more.done.contains(name)).collect::<Vec<_>>();
    assert_eq!(never, Vec::<String>::new(), "nothing that follows the schema succeeds here");
}
