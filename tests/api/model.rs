//! Random stories of one account over HTTP, beside a model that fits on two pages: whatever happens in whatever order, both
//! must tell the same. A story that fails is made as short as it can be before it is shown.
//!
//! `MODEL_RUNS=2000 cargo test --test api -- model` runs as many stories; without it a few.
#![allow(clippy::unwrap_used, reason = "a test that can not read its answer has failed")]

use crate::support::{Reply, Session, TestApp};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestCaseError, TestRunner},
};
use serde_json::{Value, json};
use std::{cell::Cell, time::Duration};

/// Stories when nothing is asked.
const RUNS: u32 = 60;
/// Steps of a story at the most.
const STEPS: usize = 50;
/// How long lots live, and how far the clock is moved, in minutes.
const LIVES: [i64; 4] = [1, 10, 24 * 60, 20 * 24 * 60];
const MOVES: [i64; 6] = [1, 9, 59, 24 * 60, 5 * 24 * 60, 31 * 24 * 60];
const CREDITS: &str = "/api/v1/billing/credits";

/// How long holds live, in seconds.
const HOLD_LIVES: [i64; 4] = [60, 600, 3_600, 86_400];

/// One step.
#[derive(Clone, Debug)]
enum Step {
    Deduct {
        credits: i64,
        key: Key,
    },
    /// Two at once.
    Pair {
        credits: [i64; 2],
    },
    Check {
        credits: i64,
    },
    Hold {
        credits: i64,
        life: Index,
    },
    /// All of a hold, or so much of it: more than there is, now and then.
    Capture {
        which: Index,
        credits: Option<i64>,
    },
    Release {
        which: Index,
    },
    Give {
        amount: i64,
        life: Option<Index>,
    },
    Take {
        amount: i64,
    },
    Refund {
        which: Index,
        amount: Option<i64>,
    },
    /// Asks for the starter plan and pays it: an activation or a renewal.
    Pay,
    Wait {
        by: Index,
    },
    /// What the night porter does.
    Jobs,
}

#[derive(Clone, Debug)]
enum Key {
    None,
    New,
    /// One that was used before, with the same input.
    Again(Index),
    /// The same, with another input.
    Reused(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![
        3 => Just(Key::None),
        3 => Just(Key::New),
        2 => any::<Index>().prop_map(Key::Again),
        1 => any::<Index>().prop_map(Key::Reused),
    ];
    let credits = || prop_oneof![5 => 1i64..200, 1 => 200i64..3_000];
    let step = prop_oneof![
        8 => (credits(), key).prop_map(|(credits, key)| Step::Deduct { credits, key }),
        3 => (credits(), credits()).prop_map(|(first, second)| Step::Pair { credits: [first, second] }),
        1 => credits().prop_map(|credits| Step::Check { credits }),
        5 => (credits(), any::<Index>()).prop_map(|(credits, life)| Step::Hold { credits, life }),
        4 => (any::<Index>(), prop::option::of(1i64..150)).prop_map(|(which, credits)| Step::Capture { which, credits }),
        2 => any::<Index>().prop_map(|which| Step::Release { which }),
        4 => (1i64..400, prop::option::of(any::<Index>())).prop_map(|(amount, life)| Step::Give { amount, life }),
        1 => credits().prop_map(|amount| Step::Take { amount }),
        3 => (any::<Index>(), prop::option::of(1i64..150)).prop_map(|(which, amount)| Step::Refund { which, amount }),
        1 => Just(Step::Pay),
        4 => any::<Index>().prop_map(|by| Step::Wait { by }),
        1 => Just(Step::Jobs),
    ];
    prop::collection::vec(step, 1..=STEPS)
}

// --- The model ---------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
struct Lot {
    left: i64,
    ends_at: DateTime<Utc>,
}

/// Credits that are reserved; their place is their number less one.
#[derive(Clone, Debug)]
struct Hold {
    amount: i64,
    ends_at: DateTime<Utc>,
    is_open: bool,
}

/// A deduction, and what is left of it to give back.
#[derive(Clone, Debug)]
struct Spent {
    seq: i64,
    plan: i64,
    extra: i64,
}

#[derive(Clone, Debug)]
struct Model {
    plan: i64,
    /// By their end; of those that end together the older one first.
    lots: Vec<Lot>,
    kept: i64,
    seq: i64,
    spent: Vec<Spent>,
    holds: Vec<Hold>,
    /// Each key with what was spent and the number of the entry.
    keys: Vec<(String, i64, i64)>,
    period_ends_at: DateTime<Utc>,
    is_paid: bool,
}

impl Model {
    fn new(now: DateTime<Utc>) -> Self {
        let (lots, spent, holds, keys) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Model { plan: 2_000, lots, kept: 0, seq: 1, spent, holds, keys, period_ends_at: now + TimeDelta::days(14), is_paid: false }
    }

    /// Lets the time pass: what has ended is gone. Tells whether lots ended beside holds that are open.
    fn at(&mut self, now: DateTime<Utc>) -> bool {
        self.holds.iter_mut().filter(|hold| hold.ends_at <= now).for_each(|hold| hold.is_open = false);
        let ended = self.lots.iter().filter(|lot| lot.ends_at <= now && lot.left > 0).count();
        self.seq += i64::try_from(ended).unwrap();
        self.lots.retain(|lot| now < lot.ends_at);
        let is_pressed = ended > 0 && self.held() > 0;
        self.displace();
        is_pressed
    }

    fn held(&self) -> i64 {
        self.holds.iter().filter(|hold| hold.is_open).map(|hold| hold.amount).sum()
    }

    fn available(&self) -> i64 {
        self.total() - self.held()
    }

    /// Gives up the newest holds until the others are covered.
    fn displace(&mut self) {
        while self.held() > self.total() {
            self.holds.iter_mut().rfind(|hold| hold.is_open).unwrap().is_open = false;
        }
    }

    /// What placing a hold answers: its number and what is available, or that there is too little.
    fn hold(&mut self, amount: i64, ends_at: DateTime<Utc>) -> (u16, i64, i64) {
        if amount > self.available() {
            return (402, amount, self.available());
        }
        self.holds.push(Hold { amount, ends_at, is_open: true });
        (201, i64::try_from(self.holds.len()).unwrap(), self.available())
    }

    /// What capturing answers, as a deduction does; or that the hold is not open, or too small.
    fn capture(&mut self, which: usize, credits: Option<i64>) -> (u16, i64, i64) {
        let hold = &mut self.holds[which];
        let credits = credits.unwrap_or(hold.amount);
        if !hold.is_open || credits > hold.amount {
            return (409, 0, 0);
        }
        hold.is_open = false;
        self.deduct(credits)
    }

    fn extra(&self) -> i64 {
        self.kept + self.lots.iter().map(|lot| lot.left).sum::<i64>()
    }

    fn total(&self) -> i64 {
        self.plan + self.extra()
    }

    fn may_act(&self, now: DateTime<Utc>) -> bool {
        now < self.period_ends_at + TimeDelta::days(if self.is_paid { 3 } else { 0 })
    }

    /// Takes credits: of the plan, of the lots by their end, of the rest.
    fn take(&mut self, amount: i64) -> Option<Spent> {
        if amount > self.available() {
            return None;
        }
        let plan = amount.min(self.plan);
        let mut open = amount - plan;
        self.plan -= plan;
        for left in self.lots.iter_mut().map(|lot| &mut lot.left).chain([&mut self.kept]) {
            let part = open.min(*left);
            (*left, open) = (*left - part, open - part);
        }
        self.seq += 1;
        Some(Spent { seq: self.seq, plan, extra: amount - plan })
    }

    /// What a deduction answers: its number and the balance, or that there is too little.
    fn deduct(&mut self, amount: i64) -> (u16, i64, i64) {
        match self.take(amount) {
            Some(spent) => {
                let seq = spent.seq;
                self.spent.push(spent);
                (201, seq, self.total())
            }
            None => (402, amount, self.available()),
        }
    }

    fn give(&mut self, amount: i64, ends_at: Option<DateTime<Utc>>) {
        self.seq += 1;
        match ends_at {
            None => self.kept += amount,
            Some(ends_at) => {
                let at = self.lots.partition_point(|lot| lot.ends_at <= ends_at);
                self.lots.insert(at, Lot { left: amount, ends_at });
            }
        }
    }

    /// Gives a deduction back; false where that is more than is left of it.
    fn refund(&mut self, which: usize, amount: Option<i64>) -> bool {
        let spent = &mut self.spent[which];
        let left = spent.plan + spent.extra;
        let amount = amount.unwrap_or(left);
        if amount > left || amount == 0 {
            return false;
        }
        let extra = amount.min(spent.extra);
        (spent.extra, spent.plan) = (spent.extra - extra, spent.plan - (amount - extra));
        (self.kept, self.plan, self.seq) = (self.kept + extra, self.plan + amount - extra, self.seq + 1);
        true
    }

    fn pay(&mut self, now: DateTime<Utc>) {
        let joins = self.is_paid && self.may_act(now);
        self.period_ends_at = if joins { self.period_ends_at } else { now } + TimeDelta::days(30);
        self.seq += i64::from(self.plan > 0) + 1;
        (self.plan, self.is_paid) = (1_000, true);
        self.displace();
    }
}

// --- The story ---------------------------------------------------------------------------------------------------

struct Story<'a> {
    app: &'a TestApp,
    ana: Session,
    staff: Session,
    model: Model,
    payments: u32,
}

/// What an answer to a deduction or about a hold says, as the model says it.
fn told(reply: &Reply) -> (u16, i64, i64) {
    let number = |value: &Value| value.as_i64().unwrap_or_else(|| panic!("{}", reply.text));
    match reply.status.as_u16() {
        201 if reply.data()["transaction"].is_object() => {
            (201, number(&reply.data()["transaction"]["id"]), number(&reply.data()["balance"]))
        }
        201 => (201, number(&reply.data()["hold"]["id"]), number(&reply.data()["available"])),
        200 => (200, 0, number(&reply.data()["available"])),
        402 => (402, number(&reply.body["required"]), number(&reply.body["available"])),
        other => (other, 0, 0),
    }
}

impl<'a> Story<'a> {
    async fn begin(app: &'a TestApp, number: u32, staff: &Session) -> Self {
        let ana = app.register(&format!("ana{number}@example.com")).await;
        let staff = app.log_in(&staff.email).await;
        Story { app, ana, staff, model: Model::new(app.now()), payments: 0 }
    }

    fn deduction(&self, credits: i64, key: Option<&str>) -> crate::support::Call {
        let job = json!({"operation": "content_generation", "quantity": credits * 100});
        let call = self.app.post(&format!("{CREDITS}/deduct/")).bearer(&self.ana.access).json(job);
        key.into_iter().fold(call, |call, key| call.header("idempotency-key", key))
    }

    async fn by_staff(&self, path: &str, body: Value) -> Reply {
        let path = format!("/api/v1/billing/admin/accounts/{}/{path}/", self.ana.account_id);
        self.app.post(&path).bearer(&self.staff.access).json(body).send().await
    }

    async fn deduct(&mut self, credits: i64, key: &Key) {
        let known = |index: &Index| (!self.model.keys.is_empty()).then(|| index.get(&self.model.keys).clone());
        let new = || Some(format!("key-{}", self.model.seq));
        let (key, credits, first) = match key {
            Key::None => (None, credits, None),
            Key::New => (new(), credits, None),
            Key::Again(index) => known(index).map_or((new(), credits, None), |known| (Some(known.0.clone()), known.1, Some(known))),
            Key::Reused(index) => known(index).map_or((new(), credits, None), |known| (Some(known.0.clone()), known.1 + 1, Some(known))),
        };
        let reply = self.deduction(credits, key.as_deref()).send().await;
        let now = self.app.now();
        match first {
            _ if !self.model.may_act(now) => drop(reply.expect_code(403, "account_suspended")),
            Some((_, spent, seq)) if spent == credits => {
                assert_eq!((told(&reply).0, told(&reply).1, reply.header("idempotent-replayed").as_str()), (201, seq, "true"));
            }
            Some(_) => drop(reply.expect_code(409, "idempotency_key_reused")),
            None => {
                let expected = self.model.deduct(credits);
                assert_eq!(told(&reply), expected, "{}", reply.text);
                if let (201, seq, _, Some(key)) = (expected.0, expected.1, expected.2, key) {
                    self.model.keys.push((key, credits, seq));
                }
            }
        }
    }

    /// Two at once must be answered as if one had come after the other.
    async fn pair(&mut self, credits: [i64; 2]) {
        let sent = credits.map(|credits| tokio::spawn(self.deduction(credits, None).send()));
        let mut replies = Vec::new();
        for reply in sent {
            replies.push(told(&reply.await.unwrap()));
        }
        if !self.model.may_act(self.app.now()) {
            return assert_eq!(replies, [(403, 0, 0), (403, 0, 0)]);
        }
        let orders = [[0, 1], [1, 0]].map(|order| {
            let (mut model, mut answers) = (self.model.clone(), [(0, 0, 0); 2]);
            for place in order {
                answers[place] = model.deduct(credits[place]);
            }
            (answers, model)
        });
        let found = orders.into_iter().find(|(answers, _)| answers[..] == replies[..]);
        self.model = found.unwrap_or_else(|| panic!("{replies:?} is no order of {credits:?} on {:?}", self.model)).1;
    }

    async fn pay(&mut self) {
        self.payments += 1;
        let starter = json!({"plan_slug": "starter"});
        self.app.post("/api/v1/account/upgrade/").bearer(&self.ana.access).json(starter).send().await.expect(201);
        let transfer = json!({
            "account_id": self.ana.account_id, "external_payment_id": format!("BT-{}-{}", self.ana.account_id, self.payments),
            "amount": "89.00", "payer_name": "Ana",
        });
        let confirm = self.app.post("/api/v1/billing/admin/confirm-bank-transfer/").bearer(&self.staff.access).json(transfer);
        confirm.send().await.expect(200);
        self.model.pay(self.app.now());
    }

    async fn wait(&mut self, by: &Index) {
        let minutes = u64::try_from(*by.get(&MOVES)).unwrap();
        self.app.advance(Duration::from_secs(60 * minutes));
        // Tokens end with the hour.
        self.ana = self.app.log_in(&self.ana.email).await;
        self.staff = self.app.log_in(&self.staff.email).await;
        if self.model.at(self.app.now()) {
            // Whether a hold ended before it was displaced depends on who looks first; so somebody looks now.
            self.jobs().await;
        }
    }

    /// What the night porter does.
    async fn jobs(&self) {
        let (pool, now) = (self.app.pool(), self.app.now());
        igny8::credits::holds::service::expire_due(pool, now).await.unwrap();
        igny8::credits::lots::service::expire_due(pool, now).await.unwrap();
        igny8::credits::seals::service::seal_due(pool, now).await.unwrap();
        igny8::accounts::life::end_periods(pool, TimeDelta::days(3), now).await.unwrap();
    }

    async fn on_hold(&self, path: &str, body: Value) -> Reply {
        self.app.post(&format!("{CREDITS}/holds/{path}")).bearer(&self.ana.access).json(body).send().await
    }

    /// What the model says is told, unless the account may not act.
    fn expect(&self, reply: &Reply, expected: impl FnOnce(&mut Model) -> (u16, i64, i64)) -> Model {
        let mut model = self.model.clone();
        if model.may_act(self.app.now()) {
            assert_eq!(told(reply), expected(&mut model), "{}", reply.text);
        } else {
            assert_eq!((reply.status.as_u16(), &reply.body["code"]), (403, &json!("account_suspended")));
        }
        model
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Deduct { credits, key } => self.deduct(*credits, key).await,
            Step::Pair { credits } => self.pair(*credits).await,
            Step::Hold { credits, life } => {
                let seconds = *life.get(&HOLD_LIVES);
                let job = json!({"operation": "content_generation", "quantity": credits * 100, "expires_in_seconds": seconds});
                let ends_at = self.app.now() + TimeDelta::seconds(seconds);
                let reply = self.on_hold("", job).await;
                self.model = self.expect(&reply, |model| model.hold(*credits, ends_at));
            }
            Step::Capture { which, credits } if !self.model.holds.is_empty() => {
                let which = which.index(self.model.holds.len());
                let body = credits.map_or(json!({}), |credits| json!({"quantity": credits * 100}));
                let reply = self.on_hold(&format!("{}/capture/", which + 1), body).await;
                self.model = self.expect(&reply, |model| model.capture(which, *credits));
            }
            Step::Release { which } if !self.model.holds.is_empty() => {
                let which = which.index(self.model.holds.len());
                let reply = self.on_hold(&format!("{}/release/", which + 1), json!({})).await;
                self.model = self.expect(&reply, |model| match std::mem::take(&mut model.holds[which].is_open) {
                    true => (200, 0, model.available()),
                    false => (409, 0, 0),
                });
            }
            Step::Capture { .. } | Step::Release { .. } => {}
            Step::Check { credits } => {
                let job = json!({"operation": "content_generation", "quantity": credits * 100});
                let reply = self.app.post(&format!("{CREDITS}/check/")).bearer(&self.ana.access).json(job).send().await;
                if self.model.may_act(self.app.now()) {
                    let available = self.model.available();
                    let expected = json!({"cost": credits, "available": available, "sufficient": *credits <= available});
                    assert_eq!(reply.expect(200).data(), &expected);
                }
            }
            Step::Give { amount, life } => {
                let ends_at = life.map(|life| self.app.now() + TimeDelta::minutes(*life.get(&LIVES)));
                self.by_staff("credits", json!({"amount": amount, "reason": "a story", "expires_at": ends_at})).await.expect(201);
                self.model.give(*amount, ends_at);
            }
            Step::Take { amount } => {
                let reply = self.by_staff("credits", json!({"amount": -amount, "reason": "a story"})).await;
                reply.expect(if self.model.take(*amount).is_some() { 201 } else { 402 });
            }
            Step::Refund { which, amount } if !self.model.spent.is_empty() => {
                let which = which.index(self.model.spent.len());
                let path = format!("transactions/{}/refund", self.model.spent[which].seq);
                let reply = self.by_staff(&path, json!({"amount": amount, "reason": "a story"})).await;
                reply.expect(if self.model.refund(which, *amount) { 201 } else { 422 });
            }
            Step::Refund { .. } => {}
            Step::Pay => self.pay().await,
            Step::Wait { by } => self.wait(by).await,
            Step::Jobs => self.jobs().await,
        }
    }

    /// Both pools are what the model says.
    async fn compare(&self) {
        let balance = self.app.get(&format!("{CREDITS}/balance/")).bearer(&self.ana.access).send().await.expect(200);
        let told = ["plan_credits", "extra_credits", "held", "available"].map(|pool| balance.data()[pool].as_i64().unwrap());
        let expected = [self.model.plan, self.model.extra(), self.model.held(), self.model.available()];
        assert_eq!(told, expected, "{:?}", self.model);
    }
}

async fn tell(app: &TestApp, number: u32, staff: &Session, steps: &[Step]) {
    let mut story = Story::begin(app, number, staff).await;
    for step in steps {
        story.take(step).await;
        story.compare().await;
    }
    // Every entry that the model counts is there once what has ended is written down, and no other.
    story.take(&Step::Jobs).await;
    let account = story.ana.account_id;
    let last = app.text(format!("select max(seq)::text from credit_transactions where account_id = {account}")).await;
    assert_eq!(last, story.model.seq.to_string(), "{:?}", story.model);
}

#[expect(clippy::disallowed_methods, reason = "how the tests are run, not a setting of the application")]
fn runs() -> u32 {
    std::env::var("MODEL_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}

#[test]
fn whatever_happens_in_whatever_order_the_ledger_tells_what_the_model_tells() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::with(|config| config.throttle_disabled = true));
    let staff = runtime.block_on(app.operator());
    let number = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: runs(), failure_persistence: None, max_shrink_iters: 500, ..Config::default() });

    let outcome = runner.run(&steps(), |steps| {
        number.set(number.get() + 1);
        // A panic in the story is a failure of this case, which is then made shorter.
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(tell(&app, number.get(), &staff, &steps))));
        told.map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            TestCaseError::fail(text.unwrap_or_default())
        })
    });

    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    runtime.block_on(app.verify());
    runtime.block_on(async { drop(app) });
}
