//! What a confirmation answers: the data, what changed, and one sentence that an admin can read in a terminal.

use super::{
    model::{Confirmation, Confirmed, Invoice, Payment, PaymentStatus, Run, Transfer},
    payments::store::StoredPayment,
};
use crate::{
    accounts::{
        life::Held,
        model::{Account, AccountStatus},
    },
    clock::Timestamp,
    credits::{
        model::{Authority, Pools},
        service::Reset,
    },
    ids::{PaymentId, PaymentMethod},
    money::Money,
    plans::model::Plan,
    subscriptions::{model::PeriodKind, service::Started},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A transfer that was taken, with everything as it stood before.
#[derive(Debug)]
pub struct Taken<'a> {
    /// The account and its subscription.
    pub held: &'a Held,
    /// The account's plan.
    pub plan_before: Option<Plan>,
    /// The plan that is paid for.
    pub plan: &'a Plan,
    /// The invoice that is paid.
    pub invoice_before: &'a Invoice,
    /// The transfer's row.
    pub payment: PaymentId,
    /// The customer's own report of it.
    pub reported: Option<StoredPayment>,
    /// The transfer.
    pub transfer: &'a Transfer,
}

/// Data and sentence.
pub type Told = (Confirmation, String);

/// The first answer, marked as such; it says that nothing happened now.
pub fn repeated(first: Confirmed) -> Confirmed {
    let mut data = first.data;
    data["already_confirmed"] = Value::Bool(true);
    Confirmed { data, message: format!("Already confirmed, nothing changed now. {}", first.message) }
}

/// A part came and nothing activates.
pub fn of_part(taken: &Taken<'_>, pools: Pools, invoice: Invoice, now: Timestamp) -> Told {
    let held = taken.held;
    let subscription = held.subscription.as_ref().map(|locked| locked.subscription.clone());
    let message = format!(
        "{}{} {} counted towards {} of {} (account {}); {} outstanding, nothing activated; reference {}.",
        taken.transfer.run.prefix(),
        taken.transfer.amount,
        invoice.currency,
        invoice.number,
        held.row.slug,
        held.row.id,
        invoice.outstanding,
        taken.transfer.external_payment_id
    );
    let account = Account {
        status: held.standing.account,
        payment_method: held.row.payment_method,
        plan: taken.plan_before.clone(),
        subscription: subscription.clone(),
        ..account_with(taken, pools)
    };
    let all = of_invoice(taken, &invoice);
    let data = Confirmation {
        account,
        subscription,
        payment: payment(taken, &invoice, now),
        invoice,
        transaction: None,
        changes: changed(all),
        already_confirmed: false,
        dry_run: taken.transfer.run == Run::Dry,
    };
    (data, message)
}

/// All has come: the plan started or is renewed.
pub fn of_whole(taken: &Taken<'_>, (started, reset, status): (Started, Reset, AccountStatus), invoice: Invoice, now: Timestamp) -> Told {
    let message = sentence(taken, &started, &reset, invoice.account_balance);
    let account = Account {
        status,
        payment_method: Some(PaymentMethod::BankTransfer),
        plan: plan_now(taken, &started).cloned(),
        subscription: Some(started.subscription.clone()),
        ..account_with(taken, reset.pools)
    };
    let mut all = of_invoice(taken, &invoice);
    all.extend(of_account(taken, &started, &reset, status));
    let data = Confirmation {
        account,
        subscription: Some(started.subscription),
        payment: payment(taken, &invoice, now),
        invoice,
        transaction: reset.grant,
        changes: changed(all),
        already_confirmed: false,
        dry_run: taken.transfer.run == Run::Dry,
    };
    (data, message)
}

/// The account's plan after it: a smaller one that is paid for ahead begins only later.
fn plan_now<'a>(taken: &'a Taken<'_>, started: &Started) -> Option<&'a Plan> {
    started.next.and(taken.plan_before.as_ref()).or(Some(taken.plan))
}

/// What the confirmation leaves as it is, and the credits.
fn account_with(taken: &Taken<'_>, pools: Pools) -> Account {
    let row = &taken.held.row;
    Account {
        id: row.id,
        name: row.name.clone(),
        slug: row.slug.clone(),
        status: row.status,
        credits: pools.total(),
        pools,
        payment_method: None,
        authority: Authority::default(), // an answer: it lets nobody in
        throttle_factor: 1,
        plan: None,
        subscription: None,
    }
}

fn payment(taken: &Taken<'_>, invoice: &Invoice, now: Timestamp) -> Payment {
    let reported = taken.reported.as_ref().map(|report| &report.payment);
    Payment {
        id: taken.payment,
        external_payment_id: taken.transfer.external_payment_id.clone(),
        payment_method: PaymentMethod::BankTransfer,
        status: PaymentStatus::Confirmed,
        invoice_id: Some(invoice.id),
        amount: taken.transfer.amount,
        currency: invoice.currency.clone(),
        payer_name: taken.transfer.payer_name.clone(),
        paid_on: taken.transfer.paid_on.or_else(|| reported.and_then(|payment| payment.paid_on)),
        confirmed_at: Some(now),
        reason: None,
        created_at: reported.map_or(now, |payment| payment.created_at),
    }
}

type Change = (&'static str, [Value; 2]);

fn changed(all: Vec<Change>) -> BTreeMap<&'static str, [Value; 2]> {
    all.into_iter().filter(|(_, [before, after])| before != after).collect()
}

/// Money and the invoice; what the customer reported otherwise than the bank says.
fn of_invoice(taken: &Taken<'_>, after: &Invoice) -> Vec<Change> {
    let (before, transfer) = (taken.invoice_before, taken.transfer);
    let reported = taken.reported.as_ref().map(|report| &report.payment);
    let mut all = vec![
        ("account.money_balance", [json!(before.account_balance), json!(after.account_balance)]),
        ("invoice.status", [json!(before.status), json!(after.status)]),
        ("invoice.paid", [json!(before.paid), json!(after.paid)]),
    ];
    if let Some(reported) = reported {
        all.push(("payment.status", [json!(reported.status), json!(PaymentStatus::Confirmed)]));
        all.push(("payment.amount", [json!(reported.amount), json!(transfer.amount)]));
        all.push(("payment.payer_name", [json!(reported.payer_name), json!(transfer.payer_name)]));
    }
    all
}

/// The account and its paid time.
fn of_account(taken: &Taken<'_>, started: &Started, reset: &Reset, status: AccountStatus) -> Vec<Change> {
    let (held, after) = (taken.held, &started.subscription);
    let before = held.subscription.as_ref().map(|locked| &locked.subscription);
    let plan_before = taken.plan_before.as_ref().map(|plan| &plan.slug);
    vec![
        ("account.status", [json!(held.standing.account), json!(status)]),
        ("account.plan", [json!(plan_before), json!(plan_now(taken, started).map(|plan| &plan.slug))]),
        ("account.credits", [json!(reset.before), json!(reset.after)]),
        ("account.payment_method", [json!(held.row.payment_method), json!(PaymentMethod::BankTransfer)]),
        ("subscription.status", [json!(before.map(|before| before.status)), json!(after.status)]),
        ("subscription.current_period_start", [json!(before.map(|before| before.current_period_start)), json!(after.current_period_start)]),
        ("subscription.current_period_end", [json!(before.map(|before| before.current_period_end)), json!(after.current_period_end)]),
        ("subscription.external_payment_id", [json!(before.map(|before| &before.external_payment_id)), json!(after.external_payment_id)]),
    ]
}

fn sentence(taken: &Taken<'_>, started: &Started, reset: &Reset, kept: Money) -> String {
    let verb = match started.kind {
        PeriodKind::Renewal => "is renewed",
        PeriodKind::Activation | PeriodKind::Trial | PeriodKind::Manual => "is active",
    };
    let until = started.subscription.current_period_end.format("%Y-%m-%d");
    let kept = if kept.is_zero() { String::new() } else { format!("; {kept} {} kept", taken.invoice_before.currency) };
    let (slug, account, reference) = (&taken.held.row.slug, taken.held.row.id, &taken.transfer.external_payment_id);
    let (prefix, plan, before, after) = (taken.transfer.run.prefix(), &taken.plan.name, reset.before, reset.after);
    format!("{prefix}{plan} {verb} for {slug} (account {account}) until {until}; credits {before} → {after}{kept}; reference {reference}.")
}
