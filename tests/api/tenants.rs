//! No tenant sees, changes or slows another.

use crate::{
    doors::routes,
    support::{
        Reply, TestApp,
        tenant::{Tenant, filled, of_no_tenant, slots},
    },
};
use serde_json::{Value, json};

/// Numbers and words that nothing has, for slots of each form.
const UNKNOWN: [&str; 3] = ["999999999", "00000000-0000-4000-8000-000000000000", "no-such-word"];

/// Of the same form as the value, and nobody's.
fn unknown_like(value: &str) -> String {
    let [number, uuid, word] = UNKNOWN;
    let form = if value.parse::<i64>().is_ok() {
        number
    } else if value.len() == uuid.len() && value.contains('-') {
        uuid
    } else {
        word
    };
    form.to_owned()
}

/// The body but for the request's id.
fn told(reply: &Reply) -> Value {
    let mut body = reply.body.clone();
    body.as_object_mut().map(|body| body.remove("request_id"));
    body
}

/// Everything of an account that a request could change, as the database has it. Its own key is never used meanwhile, for its
/// last use would be noted.
async fn everything(app: &TestApp, tenant: &Tenant) -> String {
    let tables = [
        "accounts",
        "users",
        "sites",
        "site_access",
        "site_keys",
        "site_sectors",
        "site_clones",
        "site_events",
        "invitations",
        "subscriptions",
        "subscription_periods",
        "credit_balances",
        "credit_holds",
    ];
    let tables = tables.into_iter().chain([
        "credit_transactions",
        "invoices",
        "payments",
        "account_money",
        "account_money_entries",
        "idempotency_keys",
        "audit_log",
    ]);
    let rows = tables.map(|table| {
        format!(
            "(select jsonb_agg(to_jsonb(r) order by to_jsonb(r)::text) from {table} r where r.account_id = {})",
            tenant.session.account_id
        )
    });
    let sessions = format!("(select jsonb_agg(to_jsonb(r)) from sessions r where r.user_id = {})", tenant.session.user_id);
    app.text(format!("select jsonb_build_array({}, {sessions})::text", rows.collect::<Vec<_>>().join(", "))).await
}

#[tokio::test]
async fn another_tenants_id_in_any_slot_of_any_route_looks_like_one_that_is_not_there() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let (ana, ben) = (Tenant::new(&app, "ana@example.com").await, Tenant::new(&app, "ben@example.com").await);
    let before = everything(&app, &ben).await;

    let mut sent = 0;
    for role in ["owner", "developer", "admin", "editor", "viewer", "site key"] {
        if role != "site key" {
            app.run(format!("update users set role = '{role}' where user_id = {}", ana.session.user_id)).await;
        }
        for route in routes() {
            // Platform staff acts on every tenant: there is no other one.
            let is_staffs = role == "developer" && ["operator", "developer"].contains(&route.class.as_str());
            let words = slots(&route.path);
            let tenants = words.iter().enumerate().filter(|(_, word)| of_no_tenant(word).is_none() && !is_staffs);
            for (at, word) in tenants {
                for foreign in ben.in_slot(word) {
                    let ask = async |value: String| {
                        let own = words.iter().map(|word| of_no_tenant(word).map_or_else(|| ana.in_slot(word)[0].clone(), str::to_owned));
                        let mut values = own.collect::<Vec<_>>();
                        values[at] = value;
                        let call = app.request(route.method.clone(), &filled(&route.path, &values));
                        let call = if role == "site key" { call.key(&ana.key) } else { call.bearer(&ana.session.access) };
                        route.body.iter().fold(call, |call, body| call.json(body.clone())).send().await
                    };
                    let (unknown, foreign_reply) = (ask(unknown_like(&foreign)).await, ask(foreign.clone()).await);

                    let what = format!("{} {} with {foreign} as {role}", route.method, route.path);
                    assert_eq!((foreign_reply.status, told(&foreign_reply)), (unknown.status, told(&unknown)), "{what}");
                    let is_for_owners = !["operator", "developer"].contains(&route.class.as_str());
                    if role == "owner" && is_for_owners {
                        foreign_reply.expect_code(404, "not_found");
                    } else {
                        assert!([403, 404].contains(&foreign_reply.status.as_u16()), "{what}: {}", foreign_reply.text);
                    }
                    sent += 1;
                }
            }
        }
    }

    assert_eq!(everything(&app, &ben).await, before, "something of Ben's was changed");
    assert!(sent > 100, "only {sent} ids were tried");
    app.run(format!("update users set role = 'owner' where user_id = {}", ana.session.user_id)).await;
    app.verify().await;
}

#[tokio::test]
async fn f_a_tenant_at_its_limit_never_slows_another_even_at_the_same_address() {
    let app = TestApp::start().await;
    let (ana, ben) = (app.register("ana@example.com").await, app.register("ben@example.com").await);
    let me = async |token: &str| app.get("/api/v1/auth/me/").bearer(token).from_address("10.9.9.9").send().await;

    for remaining in (0..20).rev() {
        let reply = me(&ana.access).await.expect(200);
        assert_eq!((reply.header("x-throttle-limit"), reply.header("x-throttle-remaining")), ("20".to_owned(), remaining.to_string()));
    }
    let refused = me(&ana.access).await.expect_code(429, "throttled");
    let other = me(&ben.access).await.expect(200);

    assert_eq!((refused.header("x-throttle-remaining"), refused.header("retry-after")), ("0".to_owned(), "3".to_owned()));
    assert_eq!((other.header("x-throttle-limit"), other.header("x-throttle-remaining")), ("20".to_owned(), "19".to_owned()));
    assert_eq!(other.header("x-throttle-reset"), (app.now().timestamp() + 3).to_string());
    // Nor does Ana lose what she may do elsewhere: each scope is counted by itself.
    app.get("/api/v1/account/").bearer(&ana.access).from_address("10.9.9.9").send().await.expect(200);
    let body = json!({ "operation": "clustering", "quantity": 1 });
    app.post("/api/v1/billing/credits/check/").bearer(&ana.access).json(body).send().await.expect(200);
}

#[tokio::test]
async fn f_a_site_key_counts_for_its_account_and_a_whole_crowd_of_strangers_for_none() {
    let app = TestApp::start().await;
    let (ana, ben) = (Tenant::new(&app, "ana@example.com").await, Tenant::new(&app, "ben@example.com").await);
    let balance = "/api/v1/billing/credits/balance/";

    let by_token = app.get(balance).bearer(&ana.session.access).send().await.expect(200);
    let by_key = app.get(balance).key(&ana.key).send().await.expect(200);
    for _ in 0..600 {
        app.get(balance).key("no key of anybody's").from_address("10.9.9.9").send().await.expect_code(401, "key_unknown");
    }
    let stranger = app.get(balance).key("no key of anybody's").from_address("10.9.9.9").send().await;
    let bens = app.get(balance).key(&ben.key).from_address("10.9.9.9").send().await.expect(200);

    let left = |reply: &Reply| reply.header("x-throttle-remaining").parse::<u32>().expect("a number");
    assert_eq!((left(&by_token), left(&by_key)), (1_799, 1_798), "growth multiplies 600 by 3");
    stranger.expect_code(429, "throttled");
    assert_eq!(left(&bens), 1_799);
}
