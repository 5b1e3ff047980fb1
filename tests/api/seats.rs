//! People beyond the seats of a smaller plan: frozen, never deleted, and thawed without a job. Issue 5.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::{
    subscriptions::{DAY, Story},
    support::{PASSWORD, Reply, Session},
};
use axum::http::Method;
use serde_json::{Value, json};

/// An owner on a plan of three seats, with an admin and an editor who came in this order.
struct House {
    story: Story,
    bob: i64,
    cat: i64,
}

impl House {
    async fn full() -> Self {
        let story = Story::paid("growth", "139.00").await;
        let recruit = async |email: &str, role: &str| {
            let form = json!({"email": email, "role": role, "password": PASSWORD, "first_name": "Ms", "last_name": role});
            story.post("auth/users/", form).await.expect(201).data()["id"].as_i64().unwrap()
        };
        let (bob, cat) = (recruit("bob@example.com", "admin").await, recruit("cat@example.com", "editor").await);
        House { story, bob, cat }
    }

    /// The same, a day after its plan of two seats has begun. No job ran.
    async fn crowded() -> Self {
        let house = Self::full().await;
        house.story.downgrade("starter").await.expect(200);
        house.story.app.advance(DAY * 30);
        house
    }

    async fn cat(&self) -> Session {
        self.story.app.log_in("cat@example.com").await
    }

    async fn spend(&self, who: &Session) -> Reply {
        let spend = json!({"operation": "clustering", "quantity": 1});
        self.story.app.post("/api/v1/billing/credits/deduct/").bearer(&who.access).json(spend).send().await
    }

    /// Who is frozen, as the list of people says it.
    async fn frozen(&self) -> Vec<(i64, bool)> {
        let people = self.story.get("auth/users/").await;
        let seat = |person: &Value| (person["id"].as_i64().unwrap(), person["is_frozen"].as_bool().unwrap());
        people["results"].as_array().unwrap().iter().map(seat).collect()
    }
}

#[tokio::test]
async fn a_smaller_plan_freezes_who_came_last_from_the_instant_it_begins_and_says_so_before() {
    let house = House::full().await;
    let (ana, before) = (house.story.ana.user_id, house.cat().await);

    let preview = house.story.post("account/downgrade/", json!({"plan_slug": "starter", "dry_run": true})).await.expect(200);
    house.story.downgrade("starter").await.expect(200);
    house.story.app.advance(DAY * 30 - std::time::Duration::from_micros(1));
    let a_microsecond_before = house.frozen().await;
    house.story.app.advance(std::time::Duration::from_micros(1));
    let then = house.frozen().await;

    assert_eq!(
        preview.data()["exceeds"]["users"],
        json!([{"id": house.cat, "email": "cat@example.com", "first_name": "Ms", "last_name": "editor"}])
    );
    assert!(preview.body["message"].as_str().unwrap().contains("0 site(s) and 1 user(s) would be frozen"), "{}", preview.text);
    assert_eq!(before.user_id, house.cat);
    assert_eq!(a_microsecond_before, [(ana, false), (house.bob, false), (house.cat, false)]);
    assert_eq!(then, [(ana, false), (house.bob, false), (house.cat, true)]);
    house.story.app.verify().await;
}

#[tokio::test]
async fn who_is_frozen_signs_in_and_reads_and_changes_nothing_of_the_account() {
    let house = House::crowded().await;
    let cat = house.cat().await;
    let send = async |method: Method, path: &str, body: Value| {
        let call = house.story.app.request(method.clone(), &format!("/api/v1/{path}")).bearer(&cat.access);
        if method == Method::GET { call.send().await } else { call.json(body).send().await }
    };

    let me = send(Method::GET, "auth/me/", Value::Null).await.expect(200);
    assert_eq!((&me.data()["user"]["is_frozen"], &me.data()["user"]["role"]), (&json!(true), &json!("editor")));
    for path in ["auth/sites/", "billing/credits/balance/", "billing/credits/transactions/", "account/", "account/subscription/"] {
        send(Method::GET, path, Value::Null).await.expect(200);
    }
    let writes = [
        (Method::POST, "auth/sites/".to_owned(), json!({"name": "Mine"})),
        (Method::POST, "billing/credits/deduct/".to_owned(), json!({"operation": "clustering", "quantity": 1})),
        (Method::POST, "billing/credits/holds/".to_owned(), json!({"operation": "clustering", "quantity": 1})),
        (Method::DELETE, format!("auth/users/{}/", house.cat), json!({})),
        (Method::PATCH, "account/".to_owned(), json!({"name": "Mine"})),
    ];
    for (method, path, body) in writes {
        let refused = send(method, &path, body).await.expect_code(403, "seat_frozen");
        assert!(refused.body["error"].as_str().unwrap().contains("ask its owner"), "{}", refused.text);
    }
    // What is his own stays his.
    send(Method::PATCH, "auth/me/", json!({"first_name": "Cat"})).await.expect(200);
    send(Method::POST, "auth/logout-all/", json!({})).await.expect(200);
    assert_eq!(house.story.app.count("select count(*) from users where deleted_at is not null").await, 0);
}

#[tokio::test]
async fn who_spent_a_moment_ago_spends_no_more_from_the_instant_that_his_seat_is_frozen() {
    let house = House::full().await;
    house.story.downgrade("starter").await.expect(200);
    house.story.app.advance(DAY * 30 - std::time::Duration::from_secs(60));
    let (cat, bob) = (house.cat().await, house.story.app.log_in("bob@example.com").await);
    for _ in 0..3 {
        house.spend(&cat).await.expect(201);
    }

    house.story.app.advance(std::time::Duration::from_secs(60));

    house.spend(&cat).await.expect_code(403, "seat_frozen");
    house.spend(&bob).await.expect(201);
    house.story.app.verify().await;
}

#[tokio::test]
async fn somebody_thaws_when_another_leaves_and_all_do_with_a_larger_plan() {
    let house = House::crowded().await;
    let cat = house.cat().await;
    house.spend(&cat).await.expect_code(403, "seat_frozen");

    house.story.call(Method::DELETE, &format!("auth/users/{}/", house.bob), json!({})).await.expect(200);
    house.spend(&cat).await.expect(201);
    // There is no seat to come back to.
    house.story.post(&format!("auth/users/{}/restore/", house.bob), json!({})).await.expect_code(422, "seat_limit_reached");
    house.story.pay("BT-2", "139.00", json!({"plan_slug": "growth"})).await.expect(200);
    let back = house.story.post(&format!("auth/users/{}/restore/", house.bob), json!({})).await.expect(200);

    assert_eq!(back.data()["is_frozen"], false);
    assert!(house.frozen().await.iter().all(|(_, is_frozen)| !is_frozen));
    house.spend(&cat).await.expect(201);
    house.story.app.verify().await;
}

#[tokio::test]
async fn an_owner_keeps_his_seat_however_late_he_came() {
    let house = House::crowded().await;

    let promoted = house.story.post(&format!("auth/users/{}/make-owner/", house.cat), json!({})).await.expect(200);
    let cat = house.cat().await;
    let people = house.story.app.get("/api/v1/auth/users/").bearer(&cat.access).send().await.expect(200);

    assert_eq!((&promoted.data()["role"], &promoted.data()["is_frozen"]), (&json!("owner"), &json!(false)));
    let frozen = people.body["results"].as_array().unwrap().iter().filter(|person| person["is_frozen"] == true);
    assert_eq!(frozen.map(|person| person["id"].as_i64().unwrap()).collect::<Vec<_>>(), [house.bob], "who came second is third now");
    house.spend(&cat).await.expect(201);
}
