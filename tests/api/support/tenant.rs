//! A whole tenant: one user, two sites of which one is deleted, a key, an open invoice, a report of its payment, an open invitation, an open hold. And its numbers in a path's slots.

use super::{Session, TestApp};
use axum::http::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// An account with one row of everything that a path can name.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    /// Its one user, signed in.
    pub(crate) session: Session,
    /// The number of his login session.
    pub(crate) session_id: String,
    /// Its word.
    pub(crate) slug: String,
    /// A living site, which the user sees in any role, and a deleted one.
    pub(crate) sites: [i64; 2],
    /// The living site's word.
    pub(crate) site_slug: String,
    /// The living site's key.
    pub(crate) key: String,
    /// A sector of the living site.
    pub(crate) sector: i64,
    /// An open invoice.
    pub(crate) invoice: i64,
    /// A transfer that was reported for it, with its reference.
    pub(crate) payment: (i64, String),
    /// An open invitation.
    pub(crate) invitation: i64,
    /// An order of staff's for it that waits for a second admin.
    pub(crate) approval: i64,
    /// An open hold, of a number that no other tenant's has.
    pub(crate) hold: i64,
}

impl Tenant {
    /// Registers somebody and gives him all that.
    pub(crate) async fn new(app: &TestApp, email: &str) -> Self {
        let session = app.register(email).await;
        let account = session.account_id;
        app.run(format!("update accounts set plan_id = (select plan_id from plans where slug = 'growth') where account_id = {account}"))
            .await;
        let mine = |method: Method, path: &str| app.request(method, &format!("/api/v1/{path}")).bearer(&session.access);
        let create = async |name: &str| {
            mine(Method::POST, "auth/sites/").json(json!({ "name": name })).send().await.expect(201).body["data"].clone()
        };
        let (site, deleted) = (create("Blog").await, create("Shop").await);
        let sites = [&site, &deleted].map(|site| site["id"].as_i64().expect("a number"));
        mine(Method::DELETE, &format!("auth/sites/{}/", sites[1])).send().await.expect(200);
        let key = mine(Method::POST, &format!("auth/sites/{}/api-key/", sites[0])).send().await.expect(201);
        let sector =
            mine(Method::POST, &format!("auth/sites/{}/sectors/", sites[0])).json(json!({ "name": "Tea" })).send().await.expect(201);
        let invoice = mine(Method::POST, "account/upgrade/").json(json!({ "plan_slug": "starter" })).send().await.expect(201);
        let invoice = invoice.data()["id"].as_i64().expect("a number");
        let reference = format!("BT-OF-{account}");
        let report = json!({ "reference": reference, "amount": "89.00", "payer_name": "Ana", "paid_on": "2026-03-01" });
        let payment = mine(Method::POST, &format!("billing/invoices/{invoice}/report-transfer/")).json(report).send().await.expect(201);
        let guest = json!({ "email": format!("guest-of-{email}"), "role": "viewer" });
        let invitation = mine(Method::POST, "auth/invitations/").json(guest).send().await.expect(201);
        let (user, site_id) = (session.user_id, sites[0]);
        app.run(format!("insert into site_access (account_id, site_id, user_id, granted_at) select {account}, {site_id}, {user}, created_at from accounts where account_id = {account}")).await;
        let asked = "insert into approvals (account_id, kind, work, summary, reason, status, asked_by, asked_at, expires_at)";
        let work = r#"{"credits": {"amount": 1, "kind": "adjustment", "expires_at": null}}"#;
        app.run(format!("{asked} select {account}, 'credits', '{work}', 'one credit', 'sorry', 'pending', 0, created_at, created_at + interval '7 days' from accounts where account_id = {account}")).await;
        let approval = app.text(format!("select max(approval_id)::text from approvals where account_id = {account}")).await;
        // By hand: numbers count within the account, so that every tenant's first would be the same.
        let hold = account * 1_000;
        app.run(format!(
            "insert into credit_holds (account_id, hold_seq, status, amount, operation, quantity, unit_cost, description, metadata, actor, created_at, expires_at)
             select account_id, {hold}, 'open', 10, 'clustering', 1, 10, 'A run', '{{}}', 'user:{}', created_at, created_at + interval '15 minutes'
             from accounts where account_id = {account};
             update credit_balances set held = 10, next_hold_expiry_at = (select expires_at from credit_holds where account_id = {account})
             where account_id = {account}",
            session.user_id
        ))
        .await;
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Tenant {
            session_id: app.text(format!("select session_id::text from sessions where user_id = {user}")).await,
            slug: app.text(format!("select slug from accounts where account_id = {account}")).await,
            site_slug: text(&site["slug"]),
            key: text(&key.data()["key"]),
            sector: sector.data()["id"].as_i64().expect("a number"),
            invoice,
            payment: (payment.data()["id"].as_i64().expect("a number"), reference),
            invitation: invitation.data()["id"].as_i64().expect("a number"),
            approval: approval.parse().expect("a number"),
            sites,
            hold,
            session,
        }
    }

    /// What of it can stand in a slot, by the word before the slot: `sites/{id}`. Living things first, words last.
    pub(crate) fn in_slot(&self, word: &str) -> Vec<String> {
        match word {
            "accounts" => vec![self.session.account_id.to_string(), self.slug.clone()],
            "invoices" => vec![self.invoice.to_string()],
            "payments" => vec![self.payment.0.to_string()],
            "approvals" => vec![self.approval.to_string()],
            "transfers" => vec![self.payment.1.clone()],
            // Its first entry. Numbers count within the account: every other one has this, too.
            "transactions" => vec!["1".to_owned()],
            "holds" => vec![self.hold.to_string()],
            "invitations" => vec![self.invitation.to_string()],
            "users" => vec![self.session.user_id.to_string()],
            "sessions" => vec![self.session_id.clone()],
            "sectors" => vec![self.sector.to_string()],
            "sites" => vec![self.sites[0].to_string(), self.sites[1].to_string(), self.site_slug.clone()],
            _ => panic!("what stands after {word}/ in a path? Give a tenant one of it here"),
        }
    }
}

/// What stands in a slot that belongs to no tenant, by the word before the slot.
pub(crate) fn of_no_tenant(word: &str) -> Option<&'static str> {
    match word {
        "plans" => Some("starter"),
        "statements" => Some("1"),
        "credit-costs" => Some("clustering"),
        "payment-methods" => Some("bank_transfer"),
        "assets" => Some("swagger.js"),
        _ => None,
    }
}

/// The words before a path's slots, in order: `["sites"]` of `/auth/sites/{id}/`.
pub(crate) fn slots(path: &str) -> Vec<&str> {
    let segments = path.split('/').collect::<Vec<_>>();
    segments.windows(2).filter(|pair| pair[1].starts_with('{')).map(|pair| pair[0]).collect()
}

/// The path with its slots filled, in order.
pub(crate) fn filled(path: &str, values: &[String]) -> String {
    let mut values = values.iter();
    let fill = |segment: &str| match segment.starts_with('{') {
        true => values.next().expect("a value for each slot").clone(),
        false => segment.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

impl TestApp {
    /// Changes the database by hand, by one or several statements.
    pub(crate) async fn run(&self, statements: String) {
        let done = sqlx::raw_sql(AssertSqlSafe(statements.clone())).execute(self.pool()).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// One text from the database.
    pub(crate) async fn text(&self, query: String) -> String {
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(self.pool()).await.expect("a text")
    }
}
