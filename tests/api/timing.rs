//! Nobody tells by its time whether an address is known.
//!
//! Tries are interleaved, and four of them make one block: known and unknown, then unknown and known, so that neither the
//! machine's other work nor the order tells them apart. Judged is the median of the blocks' differences, in each stretch of
//! the run; how exactly, says the run's own noise.

use crate::support::{PASSWORD, Session, TestApp, request_to};
use axum::http::Method;
use igny8::{
    auth::{
        model::HashingCost,
        service::{Authenticator, TokenSecrets},
    },
    router::{self, App},
    state::AppState,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Of two tries of each kind.
const BLOCKS: usize = 150;
/// A difference shows in each of so many stretches of the run, or is none.
const STRETCHES: usize = 5;
/// Differences below this share of a try are none, in percent.
const PERCENT_MIN: i128 = 15;
/// However noisy the run, a larger difference is one: a hash that is left out makes up more than that.
const PERCENT_MAX: i128 = 40;
const MINUTE: Duration = Duration::from_secs(60);

fn median(values: impl Iterator<Item = i128>) -> i128 {
    let mut values = values.collect::<Vec<_>>();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Times one request, in nanoseconds.
#[expect(clippy::disallowed_methods, reason = "how long an answer takes is what is tested")]
async fn time(instance: &App, (path, token): (&str, Option<&str>), body: Value, status: u16) -> i128 {
    let call = request_to(instance, Method::POST, path).json(body);
    let call = token.into_iter().fold(call, |call, token| call.bearer(token));
    let started = Instant::now();
    let reply = call.send().await;
    let elapsed = started.elapsed();
    reply.expect(status);
    i128::try_from(elapsed.as_nanos()).expect("a short time")
}

/// Asserts that both kinds of tries take the same time. Each number makes a try of its own.
async fn assert_same(mut known: impl AsyncFnMut(usize) -> i128, mut unknown: impl AsyncFnMut(usize) -> i128) {
    let mut blocks = Vec::with_capacity(BLOCKS);
    for block in 0..BLOCKS {
        let (first, second) = (2 * block, 2 * block + 1);
        let (known_first, unknown_second) = (known(first).await, unknown(first).await);
        let (unknown_first, known_second) = (unknown(second).await, known(second).await);
        blocks.push((known_first + known_second, unknown_first + unknown_second));
    }

    let usual = median(blocks.iter().map(|(_, unknown)| *unknown));
    let difference = median(blocks.iter().map(|(known, unknown)| known - unknown));
    let deviation = median(blocks.iter().map(|(known, unknown)| (known - unknown - difference).abs()));
    // Four standard errors of a median: 4 * 1.2533 * 1.4826 * deviation / sqrt(150).
    let noise = deviation * 61 / 100;
    let tolerance = noise.clamp(usual * PERCENT_MIN / 100, usual * PERCENT_MAX / 100);
    // Who tells addresses apart does so all the time; the machine's other work comes and goes.
    let stretches = blocks.chunks(BLOCKS / STRETCHES).map(|stretch| median(stretch.iter().map(|(known, unknown)| known - unknown)));
    let stretches = stretches.collect::<Vec<_>>();
    let tells = stretches.iter().all(|difference| *difference > tolerance) || stretches.iter().all(|difference| *difference < -tolerance);
    assert!(!tells, "known addresses take {stretches:?} ns more of {usual}; up to {tolerance} would be noise");
}

/// The same server, whose hashes cost enough to show.
fn with_dear_hashes(app: &TestApp) -> App {
    let secrets = TokenSecrets { current: crate::support::JWT_SECRET.into(), previous: Vec::new() };
    let cost = HashingCost { memory_kib: 8_192, passes: 1 };
    let authenticator = Authenticator::new(cost, &secrets).expect("an authenticator");
    router::build(&AppState::new(app.pool().clone(), app.clock.clone(), app.state.config.clone(), authenticator)).0
}

async fn register(instance: &App, email: &str) -> Session {
    let form = json!({ "email": email, "password": PASSWORD });
    Session::of(&request_to(instance, Method::POST, "/api/v1/auth/register/").json(form).send().await.expect(201))
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_take_the_same_time() {
    let app = TestApp::start().await;
    let instance = with_dear_hashes(&app);
    for number in 0..10 {
        register(&instance, &format!("k{number:03}@example.com")).await;
    }

    let attempt = async |email: String| {
        app.advance(MINUTE); // No limit bites.
        time(&instance, ("/api/v1/auth/login/", None), json!({ "email": email, "password": "wrong horse battery" }), 401).await
    };
    let known = async |number: usize| attempt(format!("k{:03}@example.com", number % 10)).await;
    let unknown = async |number: usize| attempt(format!("n{:03}@example.com", number % 10)).await;

    assert_same(known, unknown).await;
}

#[tokio::test]
async fn a_wish_for_a_password_takes_the_same_time_for_known_and_unknown_addresses() {
    let app = TestApp::start().await;
    let instance = app.beside();
    for number in 0..10 {
        register(&instance, &format!("k{number:03}@example.com")).await;
    }

    let wish = async |email: String| {
        app.advance(MINUTE); // No limit bites, and each wish has its mail.
        time(&instance, ("/api/v1/auth/password-reset/", None), json!({ "email": email }), 200).await
    };
    let known = async |number: usize| wish(format!("k{:03}@example.com", number % 10)).await;
    let unknown = async |number: usize| wish(format!("n{:03}@example.com", number % 10)).await;

    assert_same(known, unknown).await;
}

#[tokio::test]
async fn a_wish_for_another_address_takes_the_same_time_whether_or_not_it_is_taken() {
    let app = TestApp::with(|config| config.throttle_disabled = true).await;
    let instance = app.beside();
    let ana = register(&instance, "ana@example.com").await;
    for number in 0..10 {
        register(&instance, &format!("k{number:03}@example.com")).await;
    }

    let wish = async |new_email: String| {
        let body = json!({ "new_email": new_email, "password": PASSWORD });
        time(&instance, ("/api/v1/auth/change-email/", Some(&ana.access)), body, 200).await
    };
    let taken = async |number: usize| wish(format!("k{:03}@example.com", number % 10)).await;
    let free = async |number: usize| wish(format!("n{:03}@example.com", number % 10)).await;

    assert_same(taken, free).await;
}
