//! Requirements A: what a signup gets, and what it never gets.

use crate::support::{PASSWORD, Reply, Session, TestApp};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const REGISTER: &str = "/api/v1/auth/register/";

async fn register(app: &TestApp, form: Value) -> Reply {
    app.post(REGISTER).json(form).send().await
}

/// Counts of everything that a signup writes.
async fn written(app: &TestApp) -> i64 {
    app.count(
        "select (select count(*) from accounts) + (select count(*) from users) + (select count(*) from subscriptions) \
         + (select count(*) from subscription_periods) + (select count(*) from credit_balances) + (select count(*) from credit_transactions) \
         + (select count(*) from audit_log) + (select count(*) from sessions) + (select count(*) from refresh_tokens)",
    )
    .await
}

#[tokio::test]
async fn a1_a2_b1_a_signup_starts_on_the_trial_with_the_trials_credits() {
    let app = TestApp::start().await;

    let reply = register(
        &app,
        json!({ "email": "Ana@Example.com", "password": PASSWORD, "password_confirm": PASSWORD, "first_name": "Ana", "last_name": "K" }),
    )
    .await
    .expect(201);

    let user = &reply.data()["user"];
    assert_eq!((&user["email"], &user["username"], &user["role"]), (&json!("ana@example.com"), &json!("ana"), &json!("owner")));
    assert_eq!((&user["is_superuser"], &user["email_verified"]), (&json!(false), &json!(false)));
    let account = &user["account"];
    assert_eq!(
        (&account["name"], &account["slug"], &account["status"]),
        (&json!("Ana's account"), &json!("ana-s-account"), &json!("trial"))
    );
    assert_eq!(
        (&account["credits"], &account["plan"]["slug"], &account["plan"]["price"]),
        (&json!(2000), &json!("free-trial"), &json!("0.00"))
    );
    let subscription = &account["subscription"];
    assert_eq!((&subscription["status"], &subscription["payment_method"]), (&json!("trialing"), &Value::Null));
    assert_eq!(subscription["current_period_start"], "2026-03-01T00:00:00Z");
    assert_eq!(subscription["current_period_end"], "2026-03-15T00:00:00Z");
    assert_eq!(reply.data()["access_expires_at"], "2026-03-01T01:00:00Z");
    assert_eq!(reply.data()["refresh_expires_at"], "2026-03-08T00:00:00Z");
    assert!(reply.data().get("intended_plan").is_none());
    app.verify().await;
}

#[tokio::test]
async fn a2_a_signup_writes_one_ledger_row_that_says_where_the_credits_come_from() {
    let app = TestApp::start().await;

    let session = app.register("ana@example.com").await;

    let rows: Vec<(String, i64, String, Value, String)> =
        sqlx::query_as("select kind, amount, description, metadata, actor from credit_transactions where account_id = $1")
            .bind(session.account_id)
            .fetch_all(app.pool())
            .await
            .unwrap();
    let metadata = json!({ "registration": true, "plan_slug": "free-trial" });
    let expected =
        ("subscription".to_owned(), 2000, "Initial credits from Free Trial".to_owned(), metadata, format!("user:{}", session.user_id));
    assert_eq!(rows, [expected]);
    let audited = app.count("select count(*) from audit_log where action = 'account.registered'").await;
    assert_eq!(audited, 1);
}

#[tokio::test]
async fn b1_the_trial_is_as_long_as_configured() {
    let app = TestApp::with(|config| config.trial_days = 30).await;

    let session = app.register("ana@example.com").await;

    let me = app.get("/api/v1/auth/me/").bearer(&session.access).send().await.expect(200);
    assert_eq!(me.data()["user"]["account"]["subscription"]["current_period_end"], "2026-03-31T00:00:00Z");
}

#[tokio::test]
async fn a1_without_the_trial_plan_a_signup_starts_on_the_free_one() {
    let app = TestApp::start().await;
    app.execute("update plans set is_active = false where slug = 'free-trial'").await;

    let reply = register(&app, json!({ "email": "ana@example.com", "password": PASSWORD })).await.expect(201);

    let account = &reply.data()["user"]["account"];
    assert_eq!((&account["plan"]["slug"], &account["credits"], &account["status"]), (&json!("free"), &json!(100), &json!("trial")));
    app.verify().await;
}

#[tokio::test]
async fn a1_without_a_plan_to_start_on_a_signup_fails_clearly_and_writes_nothing() {
    let app = TestApp::start().await;
    app.execute("update plans set is_active = false where slug in ('free-trial', 'free')").await;

    for plan_slug in [json!(null), json!("starter"), json!("free-trial")] {
        let reply = register(&app, json!({ "email": "ana@example.com", "password": PASSWORD, "plan_slug": plan_slug })).await;
        let reply = reply.expect_code(503, "no_signup_plan");
        assert_eq!(reply.header("retry-after"), "300");
    }

    assert_eq!(written(&app).await, 0);
}

#[tokio::test]
async fn a2_a_trial_plan_without_credits_is_passed_over() {
    let app = TestApp::start().await;
    app.execute("update plans set credits_per_month = 0 where slug = 'free-trial'").await;

    let reply = register(&app, json!({ "email": "ana@example.com", "password": PASSWORD })).await.expect(201);

    assert_eq!(reply.data()["user"]["account"]["plan"]["slug"], "free");
    assert_eq!(reply.data()["user"]["account"]["credits"], 100);
}

#[tokio::test]
async fn a2_a_step_that_fails_leaves_nothing_behind() {
    for table in [
        "accounts",
        "users",
        "subscriptions",
        "subscription_periods",
        "credit_balances",
        "credit_transactions",
        "audit_log",
        "sessions",
        "refresh_tokens",
    ] {
        let app = TestApp::start().await;
        let fail = format!(
            "create function fail() returns trigger language plpgsql as $$ begin raise exception 'planted'; end $$; \
             create trigger planted before insert on {table} for each row execute function fail()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(fail)).execute(app.pool()).await.unwrap();

        register(&app, json!({ "email": "ana@example.com", "password": PASSWORD })).await.expect_code(500, "internal_error");

        assert_eq!(written(&app).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a3_enterprise_is_refused_at_signup_and_nothing_is_written() {
    let app = TestApp::start().await;

    let reply = register(&app, json!({ "email": "ana@example.com", "password": PASSWORD, "plan_slug": "enterprise" })).await;

    reply.expect_code(403, "enterprise_requires_manual_assignment");
    assert_eq!(written(&app).await, 0);
}

#[tokio::test]
async fn a4_a_paid_plan_named_at_signup_is_an_intent_and_is_not_assigned() {
    let app = TestApp::start().await;

    for (slug, price) in [("starter", "89.00"), ("growth", "139.00"), ("scale", "229.00")] {
        let form =
            json!({ "email": format!("{slug}@example.com"), "password": PASSWORD, "plan_slug": slug, "payment_method": "bank_transfer" });
        let reply = register(&app, form).await.expect(201);
        let account = &reply.data()["user"]["account"];
        assert_eq!(
            (&account["plan"]["slug"], &account["status"], &account["credits"]),
            (&json!("free-trial"), &json!("trial"), &json!(2000))
        );
        assert_eq!((&reply.data()["intended_plan"]["slug"], &reply.data()["intended_plan"]["price"]), (&json!(slug), &json!(price)));
    }

    let remembered = app
        .count("select count(*) from audit_log where after ->> 'intended_plan' = 'growth' and after ->> 'payment_method' = 'bank_transfer'")
        .await;
    assert_eq!(remembered, 1);
    app.verify().await;
}

#[tokio::test]
async fn a4_the_plans_of_signup_are_no_intent_and_unknown_ones_are_told() {
    let app = TestApp::start().await;
    app.execute("update plans set is_active = false where slug = 'scale'").await;
    let form = |n: usize, slug: &str| json!({ "email": format!("ana{n}@example.com"), "password": PASSWORD, "plan_slug": slug });

    for (n, slug) in ["free-trial", "free", ""].into_iter().enumerate() {
        let reply = register(&app, form(n, slug)).await.expect(201);
        assert!(reply.data().get("intended_plan").is_none(), "{slug}");
    }
    for slug in ["scale", "platinum"] {
        let reply = register(&app, form(9, slug)).await.expect_code(400, "invalid_input");
        assert_eq!(reply.body["errors"]["plan_slug"], json!(["There is no such plan; leave it out or choose another."]));
    }
}

#[tokio::test]
async fn every_wrong_field_is_told_at_once() {
    let app = TestApp::start().await;
    app.register("taken@example.com").await;

    let shape =
        json!({ "email": "nobody", "password": "short", "payment_method": "cash", "first_name": "x".repeat(151), "username": "a\u{0}b" });
    let shape = register(&app, shape).await.expect_code(400, "invalid_input");
    let sense =
        json!({ "email": "ana@example.com", "password": "ana@example.com", "password_confirm": "another", "account_name": "Default" });
    let sense = register(&app, sense).await.expect_code(400, "invalid_input");
    let facts = json!({ "email": "taken@example.com", "password": PASSWORD, "plan_slug": "platinum" });
    let facts = register(&app, facts).await.expect_code(400, "invalid_input");

    let fields = |reply: &Reply| reply.body["errors"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&shape), ["email", "first_name", "password", "payment_method", "username"]);
    assert_eq!(fields(&sense), ["account_name", "password", "password_confirm"]);
    assert_eq!(fields(&facts), ["email", "plan_slug"]);
}

#[tokio::test]
async fn a_common_or_a_short_password_is_refused_and_the_minimum_can_be_raised() {
    let app = TestApp::with(|config| config.password_length_min = 12).await;
    let sentence = async |password: &str| {
        let reply = register(&app, json!({ "email": "ana@example.com", "password": password })).await.expect(400);
        reply.body["errors"]["password"][0].as_str().unwrap().to_owned()
    };

    assert_eq!(sentence("seven77").await, "Use at least 8 characters.");
    assert_eq!(sentence("eleven char").await, "Use at least 12 characters.");
    assert_eq!(sentence("qwertyuiop").await, "This password is too common, choose another.");
}

#[tokio::test]
async fn a_form_registers_as_json_does() {
    let app = TestApp::start().await;

    let reply = app
        .post(REGISTER)
        .form("email=ana%40example.com&password=correct+horse+battery&first_name=&plan_slug=starter")
        .send()
        .await
        .expect(201);

    assert_eq!(reply.data()["user"]["account"]["name"], "ana's account");
    assert_eq!(reply.data()["intended_plan"]["slug"], "starter");
}

#[tokio::test]
async fn reserved_names_are_refused_and_equal_names_get_slugs_of_their_own() {
    let app = TestApp::start().await;
    let named = |n: usize, name: &str| json!({ "email": format!("ana{n}@example.com"), "password": PASSWORD, "account_name": name });

    for name in ["Default", "default account", "AWS Admin"] {
        let reply = register(&app, named(0, name)).await.expect_code(400, "invalid_input");
        assert_eq!(reply.body["errors"]["account_name"], json!(["This name is reserved; choose another."]));
    }
    let mut slugs = Vec::new();
    for n in 0..7 {
        let reply = register(&app, named(n, "Home & Garden")).await.expect(201);
        slugs.push(reply.data()["user"]["account"]["slug"].as_str().unwrap().to_owned());
    }

    assert_eq!(slugs[..5], ["home-garden", "home-garden-2", "home-garden-3", "home-garden-4", "home-garden-5"]);
    assert!(slugs[5].starts_with("home-garden-") && slugs[5] != slugs[6], "{slugs:?}");
    assert_eq!(app.count("select count(*) from accounts where is_system").await, 0);
}

#[tokio::test]
async fn a_taken_address_is_a_wrong_field_in_any_spelling() {
    let app = TestApp::start().await;
    app.register("ana@example.com").await;
    let before = written(&app).await;

    for email in ["ana@example.com", "ANA@EXAMPLE.COM", "  Ana@example.com ", "ａna@example.com", "ana@Example.com\n"] {
        let reply = register(&app, json!({ "email": email, "password": PASSWORD })).await.expect_code(400, "invalid_input");
        assert_eq!(reply.body["errors"], json!({ "email": ["A user with this email already exists."] }), "{email}");
        app.advance(Duration::from_secs(60));
    }

    assert_eq!(written(&app).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_signups_with_one_address_in_five_spellings_make_one_account() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);
    let spellings = ["ana@example.com", "ANA@example.com", " ana@Example.COM ", "ａna@example.com", "Ana@EXAMPLE.com"];

    let mut tasks = JoinSet::new();
    for n in 0..50 {
        let form = json!({ "email": spellings[n % 5], "password": PASSWORD, "account_name": format!("Account {}", n % 3) });
        tasks.spawn(app.post(REGISTER).json(form).send());
    }
    let replies = tasks.join_all().await;

    let statuses = |status: u16| replies.iter().filter(|reply| reply.status.as_u16() == status).count();
    assert_eq!((statuses(201), statuses(400)), (1, 49), "{:?}", replies.iter().map(|reply| &reply.text).collect::<Vec<_>>());
    for table in [
        "select count(*) from accounts",
        "select count(*) from users",
        "select count(*) from subscriptions",
        "select count(*) from credit_transactions",
    ] {
        assert_eq!(app.count(table).await, 1, "{table}");
    }
    app.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_signups_with_one_account_name_all_succeed() {
    let app = Arc::new(TestApp::with(|config| config.throttle_disabled = true).await);

    let mut tasks = JoinSet::new();
    for n in 0..40 {
        let form = json!({ "email": format!("ana{n}@example.com"), "password": PASSWORD, "account_name": "Same" });
        tasks.spawn(app.post(REGISTER).json(form).send());
    }
    let replies = tasks.join_all().await;

    let sessions = replies.into_iter().map(|reply| Session::of(&reply.expect(201))).collect::<Vec<_>>();
    assert_eq!(sessions.len(), 40);
    assert_eq!(app.count("select count(distinct slug) from accounts").await, 40);
    app.verify().await;
}

#[tokio::test]
async fn registration_is_limited_per_client_address_and_per_email() {
    let app = TestApp::start().await;
    let form = |email: &str| json!({ "email": email, "password": PASSWORD });

    for n in 0..5 {
        app.post(REGISTER).json(form(&format!("ana{n}@example.com"))).from_address("10.9.9.9").send().await.expect(201);
    }
    let by_address = app.post(REGISTER).json(form("ana6@example.com")).from_address("10.9.9.9").send().await;
    for _ in 0..4 {
        register(&app, form("ANA0@example.com")).await.expect(400);
    }
    let by_email = register(&app, form("ana0@example.com")).await;

    for reply in [by_address, by_email] {
        let reply = reply.expect_code(429, "throttled");
        assert!(!reply.header("retry-after").is_empty() && !reply.header("x-throttle-limit").is_empty());
    }
    app.advance(Duration::from_secs(60));
    app.post(REGISTER).json(form("ana6@example.com")).from_address("10.9.9.9").send().await.expect(201);
}

#[tokio::test]
async fn an_admin_is_made_on_the_system_account_and_an_existing_address_is_refused() {
    let app = TestApp::start().await;

    let operator = app.operator().await;
    let again = {
        let email = igny8::auth::model::Email::parse("STAFF@example.com").unwrap();
        let password = igny8::auth::passwords::NewPassword::parse(igny8::auth::model::Password(PASSWORD.into())).unwrap();
        igny8::accounts::service::create_developer(app.state.desk(), &email, &password, app.now()).await
    };

    let me = app.get("/api/v1/auth/me/").bearer(&operator.access).send().await.expect(200);
    let user = &me.data()["user"];
    assert_eq!((&user["role"], &user["is_superuser"], &user["email_verified"]), (&json!("developer"), &json!(true), &json!(true)));
    let account = &user["account"];
    assert_eq!(
        (&account["slug"], &account["status"], &account["plan"]["slug"], &account["credits"]),
        (&json!("aws-admin"), &json!("active"), &json!("enterprise"), &json!(10000))
    );
    assert_eq!(account["subscription"]["current_period_end"], "2026-03-31T00:00:00Z");
    assert_eq!(again.unwrap_err().to_string(), "a user with this email already exists");
    assert_eq!(app.count("select count(*) from accounts where is_system").await, 1);
    assert_eq!(app.count("select count(*) from audit_log where actor = 'cli' and action = 'developer.created'").await, 1);
    app.advance(Duration::from_secs(400 * 86_400));
    let later = app.log_in("staff@example.com").await;
    let me = app.get("/api/v1/auth/me/").bearer(&later.access).send().await.expect(200);
    assert_eq!(me.data()["user"]["account"]["status"], "active", "a system account never expires");
    app.verify().await;
}
