//! Whom this process has found before it does not read again: how his account stands tells whether he is still as he was.

use crate::support::{Relay, Reply, Session, TestApp, request_to};
use axum::http::Method;
use chrono::{DateTime, Utc};
use igny8::router::App;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

const ME: &str = "/api/v1/auth/me/";
const VERIFY: &str = "/api/v1/integration/verify-key/";
const DAY: Duration = Duration::from_secs(86_400);

/// What may change of what somebody is shown of himself, by whichever way.
const CHANGES: &[&str] = &[
    "update users set email = 'other@example.com'",
    "update users set username = 'other'",
    "update users set first_name = 'Other'",
    "update users set last_name = 'Other'",
    "update users set role = 'viewer'",
    "update users set is_superuser = true",
    "update users set email_verified_at = created_at",
    "update users set is_active = false",
    "update users set deleted_at = created_at, restore_until = created_at",
    "update users set account_id = null",
    "update accounts set name = 'Other'",
    "update accounts set slug = 'other'",
    "update accounts set status = 'suspended'",
    "update accounts set plan_id = (select plan_id from plans where slug = 'free')",
    "update accounts set payment_method = 'stripe'",
    "update accounts set is_system = true",
    "update accounts set throttle_factor = 7",
    "update accounts set deleted_at = created_at, restore_until = created_at",
    "update subscriptions set status = 'past_due'",
    "update subscriptions set payment_method = 'stripe'",
    "update subscriptions set external_payment_id = 'PI-1'",
    "update subscriptions set current_period_start = current_period_start - interval '1 second'",
    "update subscriptions set current_period_end = current_period_start + interval '1 second'",
    "update subscriptions set cancel_at_period_end = true",
    "update subscriptions set next_plan_id = (select plan_id from plans where slug = 'starter'), next_plan_at = current_period_start",
    "delete from subscriptions",
    "update plans set name = 'Other'",
    "update plans set is_active = false",
    "update plans set max_sectors = 7",
    "update credit_balances set plan_credits = 7",
    "update sessions set revoked_at = created_at, revoked_reason = 'logout'",
    "delete from sessions",
];

/// What may change of what a site is shown of itself, besides.
const CHANGES_OF_SITES: &[&str] = &[
    "update sites set name = 'Other'",
    "update sites set slug = 'other'",
    "update sites set url = 'https://other.example.com'",
    "update sites set is_active = false",
    "update sites set deleted_at = created_at, restore_until = created_at",
    "update site_keys set revoked_at = created_at",
    "update site_keys set expires_at = created_at",
    "update site_keys set scopes = '{read}'",
    "delete from site_keys",
    "update accounts set status = 'suspended'",
    "update accounts set name = 'Other'",
    "update plans set is_active = false",
    "update plans set max_sites = 0",
    "update credit_balances set plan_credits = 7",
];

/// Columns of what the gate reads whose change no authority counts, because it shows them to nobody and asks nothing of them.
const UNCOUNTED: &[(&str, &[&str])] = &[
    (
        "accounts",
        &[
            "account_id billing_email billing_address deletion_retention_days",
            "is_deleted deleted_by restore_until purged_at created_at updated_at",
        ],
    ),
    (
        "users",
        &[
            "user_id password_hash last_login_at is_deleted deleted_by restore_until created_at updated_at",
            "deleted_with_account purged_at",
        ],
    ),
    ("sessions", &["session_id remember_me generation client_address user_agent created_at last_refreshed_at revoked_reason"]),
    ("subscriptions", &["plan_id stripe_subscription_id created_at updated_at"]),
    ("sites", &["site_id is_deleted deleted_by restore_until created_at updated_at industry_id"]),
    ("site_keys", &["site_key_id last_four last_used_at created_by created_at"]),
];

/// What somebody is shown of himself, and what he is told where he is nobody any more.
async fn shown(app: &App, session: &Session) -> (u16, Value) {
    told(&request_to(app, Method::GET, ME).bearer(&session.access).send().await)
}

async fn shown_to_site(app: &App, key: &str) -> (u16, Value) {
    told(&request_to(app, Method::GET, VERIFY).key(key).send().await)
}

fn told(reply: &Reply) -> (u16, Value) {
    (reply.status.as_u16(), reply.body.get("data").or(reply.body.get("code")).cloned().unwrap_or_default())
}

#[tokio::test]
async fn who_sends_a_request_is_asked_for_without_the_pool() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let key = app.key_of_a_site(&ana, "https://garden.example.com").await;
    let before = (shown(app.here(), &ana).await, shown_to_site(app.here(), &key).await);

    app.pool().close().await;
    let known = (shown(app.here(), &ana).await, shown_to_site(app.here(), &key).await);
    sqlx::query("update users set first_name = 'Other'").execute(app.database().pool()).await.expect("the statement runs");
    let (changed, unknown) = (shown(app.here(), &ana).await, shown(&app.beside(), &ana).await);

    assert_eq!((known.0.0, known.1.0), (200, 200));
    assert_eq!(known, before);
    assert_eq!(changed.1["user"]["first_name"], "Other");
    assert_eq!(unknown, changed);
}

/// A server whose statements are counted, somebody with an account, and the key of a site of hers.
async fn counted() -> (TestApp, Relay, Session, String) {
    let (app, relay) = TestApp::relayed().await;
    let ana = app.register("ana@example.com").await;
    let key = app.key_of_a_site(&ana, "https://garden.example.com").await;
    (app, relay, ana, key)
}

/// What was carried out, but for the note that a key was used: once a minute, beside the request, and nobody waits for it.
fn waited_for(relay: &Relay) -> Vec<String> {
    relay.take().into_iter().filter(|text| !text.contains("update site_keys set last_used_at")).collect()
}

#[tokio::test]
async fn whoever_asks_and_whatever_changed_authorising_costs_one_statement() {
    let changes = [
        "update accounts set name = 'Other'",
        "update accounts set deleted_at = created_at, restore_until = created_at",
        "update plans set max_sites = 0",
        "delete from sessions",
        "delete from site_keys",
    ];
    for change in changes {
        let (app, relay, ana, key) = counted().await;
        // She was found as she made her site, the site never.
        for stage in ["unknown to one of them", "known", "changed"] {
            if stage == "changed" {
                app.execute(change).await;
            }
            relay.take();
            shown(app.here(), &ana).await;
            let of_person = waited_for(&relay);
            shown_to_site(app.here(), &key).await;
            let of_site = waited_for(&relay);

            assert_eq!((of_person.len(), of_site.len()), (1, 1), "{stage}, {change}: {of_person:#?} {of_site:#?}");
            assert!(of_person[0].contains("from sessions") && of_site[0].contains("from site_keys"));
        }
    }
}

#[tokio::test]
async fn a_simple_read_costs_one_statement_more_and_a_spend_of_whom_is_known_none_to_authorise() {
    let (app, relay, ana, _) = counted().await;
    let spend =
        || app.post("/api/v1/billing/credits/deduct/").bearer(&ana.access).json(json!({ "operation": "clustering", "quantity": 1 }));
    spend().send().await.expect(201);
    let authorises = |text: &String| text.contains("from sessions");
    relay.take();

    app.get("/api/v1/auth/sites/").bearer(&ana.access).send().await.expect(200);
    let read = waited_for(&relay);
    spend().send().await.expect(201);
    let spent = waited_for(&relay);
    app.execute("update users set first_name = 'Other'").await;
    spend().send().await.expect(201);
    let spent_after_a_change = waited_for(&relay);

    assert_eq!((read.len(), read.iter().filter(|text| authorises(text)).count()), (2, 1), "{read:#?}");
    assert_eq!(spent.iter().filter(|text| authorises(text)).count(), 0, "{spent:#?}");
    assert_eq!(spent_after_a_change.iter().filter(|text| authorises(text)).count(), 1, "{spent_after_a_change:#?}");
}

#[tokio::test]
async fn whatever_changed_of_a_person_since_is_shown_by_his_next_request() {
    for change in CHANGES {
        let app = TestApp::start().await;
        let ana = app.register("ana@example.com").await;
        let before = shown(app.here(), &ana).await;

        // As another instance does it: this one is told nothing.
        app.execute(change).await;
        let (here, by_one_who_never_saw_her) = (shown(app.here(), &ana).await, shown(&app.beside(), &ana).await);

        assert_eq!(here, by_one_who_never_saw_her, "{change}");
        let is_shown = !["update accounts set is_system = true", "update accounts set throttle_factor = 7"].contains(change);
        assert_eq!(here != before, is_shown, "{change}");
    }
}

#[tokio::test]
async fn whatever_changed_of_a_site_since_is_shown_by_its_next_request() {
    for change in CHANGES_OF_SITES {
        let app = TestApp::start().await;
        let ana = app.register("ana@example.com").await;
        let key = app.key_of_a_site(&ana, "https://garden.example.com").await;
        let before = shown_to_site(app.here(), &key).await;

        app.execute(change).await;
        let (here, by_one_who_never_saw_it) = (shown_to_site(app.here(), &key).await, shown_to_site(&app.beside(), &key).await);

        assert_eq!(before.0, 200);
        assert_eq!(here, by_one_who_never_saw_it, "{change}");
    }
}

#[tokio::test]
async fn what_changes_by_time_alone_is_shown_to_the_microsecond() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let key = app.key_of_a_site(&ana, "https://garden.example.com").await;
    app.execute("update accounts set status = 'active', throttle_factor = 7, throttle_factor_until = created_at + interval '1 day'").await;
    app.execute(
        "update subscriptions set status = 'active', current_period_end = current_period_start + interval '4 days', \
         next_plan_id = (select plan_id from plans where slug = 'starter'), next_plan_at = current_period_start + interval '2 days'",
    )
    .await;
    let begun: DateTime<Utc> =
        sqlx::query_scalar("select current_period_start from subscriptions").fetch_one(app.pool()).await.expect("one");
    let mut seen = Vec::new();
    // The limit, the plan, the period, and the days of grace, one after the other.
    for day in 1..=8 {
        let before = begun + DAY * day - Duration::from_micros(1);
        app.advance((before - app.now()).to_std().expect("later"));
        let ana = app.log_in("ana@example.com").await;
        for _ in 0..2 {
            let (here, there) = (shown(app.here(), &ana).await, shown(&app.beside(), &ana).await);
            let (site_here, site_there) = (shown_to_site(app.here(), &key).await, shown_to_site(&app.beside(), &key).await);
            assert_eq!((&here, &site_here), (&there, &site_there), "day {day}");
            let account = &here.1["user"]["account"];
            seen.push(json!([account["plan"]["slug"], account["subscription"]["status"], account["status"], site_here.0]));
            app.advance(Duration::from_micros(1));
        }
    }
    seen.dedup();
    let stages = [
        json!(["free-trial", "active", "active", 200]),
        json!(["starter", "active", "active", 200]),
        json!(["starter", "past_due", "active", 200]),
        json!(["starter", "past_due", "suspended", 403]),
    ];
    assert_eq!(seen, stages);
}

#[tokio::test]
async fn credits_that_end_by_themselves_are_not_shown_a_microsecond_longer() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    let hold = json!({ "operation": "clustering", "quantity": 1, "expires_in_seconds": 60 });
    app.post("/api/v1/billing/credits/holds/").bearer(&ana.access).json(hold).send().await.expect(201);
    let balance = async |app: &App| {
        let reply = request_to(app, Method::GET, "/api/v1/billing/credits/balance/").bearer(&ana.access).send().await.expect(200);
        reply.data().clone()
    };
    let held = balance(app.here()).await;

    app.advance(Duration::from_secs(60) - Duration::from_micros(1));
    let still = balance(app.here()).await;
    app.advance(Duration::from_micros(1));
    let (here, there) = (balance(app.here()).await, balance(&app.beside()).await);

    assert_eq!((&still, &here), (&held, &there));
    assert_ne!(here, held);
}

#[tokio::test]
async fn every_column_that_the_gate_could_read_is_counted_or_named_here() {
    let app = TestApp::start().await;
    for (table, uncounted) in UNCOUNTED {
        let counted = "select a.attname::text from pg_trigger t join pg_attribute a on a.attrelid = t.tgrelid and a.attnum = any(t.tgattr) \
                       where t.tgrelid = $1::regclass and t.tgname like '%change\\_renews\\_authority' or t.tgname = $1 || '_renew_authority'";
        let all = "select attname::text from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped";
        let counted: BTreeSet<String> =
            sqlx::query_scalar::<_, String>(counted).bind(table).fetch_all(app.pool()).await.expect("triggers").into_iter().collect();
        let all: BTreeSet<String> =
            sqlx::query_scalar::<_, String>(all).bind(table).fetch_all(app.pool()).await.expect("columns").into_iter().collect();
        let named = uncounted.iter().flat_map(|names| names.split(' ')).map(str::to_owned).collect::<BTreeSet<_>>();

        assert_eq!(counted.union(&named).cloned().collect::<BTreeSet<_>>(), all, "{table}");
        assert!(counted.is_disjoint(&named), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_ask_at_once_each_is_shown_himself() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let mut people = Vec::new();
    for place in 0..10 {
        people.push(app.register(&format!("someone{place}@example.com")).await);
    }
    let calls = (0..500).map(|place| {
        let call = app.get(ME).bearer(&people[place % 10].access);
        tokio::spawn(call.send())
    });
    for (place, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
        let reply = call.await.expect("an answer").expect(200);
        assert_eq!(reply.data()["user"]["email"], json!(format!("someone{}@example.com", place % 10)));
    }
}

#[tokio::test]
async fn who_can_not_be_asked_for_with_others_is_asked_for_over_the_pool() {
    let (app, relay, ana, key) = counted().await;
    let before = (shown(app.here(), &ana).await, shown_to_site(app.here(), &key).await);

    // The pool has all its connections; another instance, which begins now, gets none for its queues.
    let mut pooled = Vec::new();
    for _ in 0..app.state.config.database_pool_size {
        pooled.push(app.pool().acquire().await.expect("a connection"));
    }
    drop(pooled);
    relay.accept_no_more().await;
    let beside = app.beside();
    let alone = (shown(&beside, &ana).await, shown_to_site(&beside, &key).await);

    assert_eq!(alone, before);
}

#[tokio::test]
async fn a_connection_that_died_is_replaced_before_anybody_is_told() {
    let app = TestApp::start().await;
    let ana = app.register("ana@example.com").await;
    shown(app.here(), &ana).await;
    shown(app.here(), &ana).await;

    let killed =
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let killed: i64 = sqlx::query_scalar(killed).fetch_one(app.database().pool()).await.expect("a count");
    app.pool().close().await;

    assert!(killed > 0);
    assert_eq!(shown(app.here(), &ana).await.0, 200);
}
