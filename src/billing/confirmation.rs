//! Confirmations (G): one transaction each; the lock order is transfer → account → subscription → invoice → money.

use super::{
    approvals::{
        model::{Wanted, Work},
        rules::differs_by_more,
    },
    balance::{
        self,
        model::{Cause, Direction, Kept},
    },
    keys::{recall_in, remember_in},
    model::{CURRENCY, Confirmed, Invoice, InvoiceStatus, OtherAmount, Payee, PaymentStatus, Run, Transfer},
    notices,
    outcome::{self, Taken},
    payments::{self, store::NewTransfer, store::StoredPayment},
    rules::{self, Earlier, Settlement, Unpayable},
    service::{
        BillingError, NewInvoiceTerms, Replayable, Terms, end, get_invoice_in, invoice_in, plan_named_in, purpose_of, record_in, written,
    },
    store,
};
use crate::{
    accounts::{
        self,
        life::{AccountError, Held},
        model::AccountStatus,
        rules::AccountEvent,
    },
    audit::model::Origin,
    clock::Timestamp,
    credits,
    db::{self, Pool, StoreError},
    idempotency::model::Keyed,
    ids::{AccountId, PaymentId, PaymentMethod, UserId},
    meters,
    money::Money,
    period::days,
    plans::{self, model::Plan},
    subscriptions::{self, rules::Hold, service::Paid},
};
use serde_json::{Map, Value};
use sqlx::PgConnection;

/// Who confirms, and from where.
#[derive(Debug, Clone)]
pub struct Confirmer {
    /// The admin.
    pub user: UserId,
    /// For the log.
    pub origin: Origin,
    /// His own account with the key that he sent, where he sent one.
    pub key: Option<(AccountId, Keyed)>,
}

impl Confirmer {
    /// The admin who sent the request.
    pub fn of(user: UserId, home: Option<AccountId>, origin: Origin, key: Option<Keyed>) -> Self {
        Confirmer { user, origin, key: home.zip(key) }
    }

    /// His hand, without the request that it came with.
    pub fn hand(&self) -> Hand<'_> {
        Hand { user: Some(self.user), origin: &self.origin }
    }
}

/// Whose hand confirms.
#[derive(Debug, Clone, Copy)]
pub struct Hand<'a> {
    /// The admin; none: somebody at the command line, who is no user.
    pub user: Option<UserId>,
    /// For the log.
    pub origin: &'a Origin,
}

/// Which money an admin confirms.
#[derive(Debug, Clone)]
pub enum Order {
    /// A transfer that he saw on the bank's statement.
    Seen(Transfer),
    /// A transfer that the customer reported.
    Reported {
        /// The report.
        payment: PaymentId,
        /// What happens when it is another amount than what is outstanding.
        other_amount: OtherAmount,
        /// Whether anything is to be kept.
        run: Run,
    },
}

impl Order {
    fn run(&self) -> Run {
        match self {
            Order::Seen(transfer) => transfer.run,
            Order::Reported { run, .. } => *run,
        }
    }
}

/// Confirms a bank transfer (G): checks it, records it, applies B2 or B3 with the plan that was paid for, and writes
/// invoice, ledger and log, all or nothing. The same transfer again gives the first answer and no second effect.
pub async fn confirm(
    pool: &Pool,
    order: &Order,
    by: &Confirmer,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Replayable<Confirmed>, BillingError> {
    let done = db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        if let Some((home, key)) = &by.key
            && let Some(first) = recall_in(&mut tx, *home, Some(key)).await?
        {
            return Ok((Confirmed::of(first), true));
        }
        let confirmed = match order {
            Order::Seen(transfer) => confirm_in(&mut tx, transfer, by.hand(), terms, now).await?,
            Order::Reported { payment, other_amount, run } => {
                let transfer = reported_in(&mut tx, *payment, (other_amount, *run)).await?;
                confirm_in(&mut tx, &transfer, by.hand(), terms, now).await?
            }
        };
        if let Some((home, key)) = &by.key {
            remember_in(&mut tx, *home, Some(key), (200, &confirmed.value()), now).await?;
        }
        end(tx, order.run()).await?;
        Ok::<_, BillingError>((confirmed, false))
    })
    .await?;
    if let (Run::Real, (confirmed, false)) = (order.run(), &done) {
        count(confirmed);
    }
    Ok(done)
}

/// Counts what was confirmed and is committed, unless it had been before.
pub(super) fn count(confirmed: &Confirmed) {
    if confirmed.data["already_confirmed"] == Value::Bool(false) {
        meters::confirmed();
        meters::granted(meters::Cause::Confirmation, confirmed.data["transaction"]["amount"].as_i64().unwrap_or(0));
    }
}

/// A report as the transfer that it tells of, once nobody else can judge it.
async fn reported_in(
    connection: &mut PgConnection,
    payment: PaymentId,
    (other_amount, run): (&OtherAmount, Run),
) -> Result<Transfer, BillingError> {
    let seen = payments::store::find_payment(&mut *connection, payment).await?.ok_or(BillingError::NotFound)?;
    payments::store::lock_transfer(connection, &seen.payment.external_payment_id).await?;
    let report = payments::store::find_payment(connection, payment).await?.ok_or(BillingError::NotFound)?;
    if report.payment.status != PaymentStatus::PendingApproval {
        return Err(BillingError::PaymentNotPending(report.payment.status));
    }
    Ok(Transfer {
        payee: Payee::Account(report.account),
        external_payment_id: report.payment.external_payment_id,
        amount: report.payment.amount,
        currency: Some(report.payment.currency),
        payer_name: report.payment.payer_name,
        plan_slug: report.plan_slug,
        paid_on: report.payment.paid_on,
        note: None,
        other_amount: other_amount.clone(),
        run,
    })
}

/// Confirms a transfer in the caller's transaction.
pub(super) async fn confirm_in(
    connection: &mut PgConnection,
    transfer: &Transfer,
    by: Hand<'_>,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let account = payee_in(connection, &transfer.payee).await?;
    payments::store::lock_transfer(connection, &transfer.external_payment_id).await?;
    let Some(earlier) = payments::store::find_transfer(&mut *connection, &transfer.external_payment_id).await? else {
        return take_in(connection, account, transfer, by, terms, now).await;
    };
    let result = earlier.result.clone();
    rules::is_same(&Earlier { account: earlier.account, payment: earlier.payment, plan_slug: earlier.plan_slug }, account, transfer)?;
    Ok(outcome::repeated(Confirmed::of(result.unwrap_or(Value::Null))))
}

async fn payee_in(connection: &mut PgConnection, payee: &Payee) -> Result<AccountId, BillingError> {
    let account = match payee {
        Payee::Account(account) => Some(*account),
        Payee::Slug(slug) => accounts::store::find_by_slug(connection, slug).await?,
        Payee::Invoice(number) => store::find_account_of_invoice(connection, number).await?,
        Payee::Email(email) => store::find_account_of_email(connection, email).await?,
        Payee::Reference(typed) => match rules::read_reference(typed) {
            Some(reference) => store::find_account_of_reference(connection, &reference).await?,
            None => None,
        },
    };
    account.ok_or_else(|| BillingError::NoPayee(payee.clone()))
}

/// Takes the money. Everything is locked and judged before the first row is written.
async fn take_in(
    connection: &mut PgConnection,
    account: AccountId,
    transfer: &Transfer,
    by: Hand<'_>,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let held = accounts::life::hold_in(connection, account, terms.grace, now).await.map_err(|error| match error {
        AccountError::NotFound => BillingError::NoPayee(transfer.payee.clone()),
        other => other.into(),
    })?;
    let open = store::lock_open_invoice(connection, account).await?;
    let kept = balance::store::lock_balance(connection, account).await?;
    let plan = plan_paid_for(connection, transfer, open.as_ref(), &held).await?;
    rules::payable_by_transfer(&plan)?;
    let invoiced = rules::invoice_for(&plan, open.as_ref());
    let asked = invoiced.map_or(plan.price, |invoice| invoice.amount);
    let currency = invoiced.map_or(CURRENCY, |invoice| invoice.currency.as_str());
    let outstanding = asked.less(kept.balance);
    let settlement = rules::settles(transfer, outstanding, currency)?;
    if settlement != Settlement::Part && differs_by_more(terms.override_max, transfer.amount, outstanding) {
        return Err(BillingError::NeedsApproval(Box::new(wanted(account, transfer))));
    }
    let invoice = match (invoiced, &open) {
        (Some(invoice), _) => invoice.clone(),
        (None, other) => {
            if let Some(other) = other {
                store::mark_invoice(connection, account, other.id, InvoiceStatus::Void, now).await?;
            }
            let (purpose, method) = (purpose_of(&held, &plan), PaymentMethod::BankTransfer);
            let new = NewInvoiceTerms { purpose, method, due_at: now + days(terms.due_days) };
            invoice_in(connection, account, &plan, new, now).await?
        }
    };
    let (payment, reported) = payment_in(connection, account, (&plan, &invoice), transfer, now).await?;
    let kept = balance::service::move_in(connection, account, kept, (Cause::Payment(payment), Direction::In, transfer.amount), now).await?;
    let plan_before = match held.row.plan {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?),
        None => None,
    };
    let taken = Taken { held: &held, plan_before, plan: &plan, invoice_before: &invoice, payment, reported, transfer };
    let confirmed = match settlement {
        Settlement::Part => part_in(connection, &taken, now).await?,
        Settlement::Whole => settle_in(connection, &taken, (kept, Money::ZERO), by, now).await?,
        Settlement::Waived(missing) => {
            let waiver = (Cause::Waiver(invoice.id), Direction::In, missing);
            let kept = balance::service::move_in(connection, account, kept, waiver, now).await?;
            settle_in(connection, &taken, (kept, missing), by, now).await?
        }
    };
    finish_in(connection, &taken, confirmed, by, terms, now).await
}

/// The transfer as an order that waits for a second admin.
fn wanted(account: AccountId, transfer: &Transfer) -> Wanted {
    let reason = match &transfer.other_amount {
        OtherAmount::Accepted(reason) => reason.clone(),
        OtherAmount::Counted | OtherAmount::Refused => format!("{} of {}", transfer.external_payment_id, transfer.payer_name),
    };
    Wanted { account, work: Work::of_transfer(transfer), reason, run: transfer.run }
}

/// `plan_slug`, else the open invoice's plan, else the one that the account goes on with: the smaller one that it asked for, or
/// its own paid plan. That makes it a renewal.
async fn plan_paid_for(
    connection: &mut PgConnection,
    transfer: &Transfer,
    open: Option<&Invoice>,
    held: &Held,
) -> Result<Plan, BillingError> {
    let own = [open.map(|invoice| invoice.plan), held.next_plan(), held.row.plan];
    if let Some(slug) = &transfer.plan_slug {
        return plan_named_in(connection, slug, &own).await;
    }
    let plan = match own.into_iter().flatten().next() {
        Some(plan) => Some(plans::store::get_plan(&mut *connection, plan).await?),
        None => None,
    };
    let paid = |plan: &Plan| open.is_some() || !plan.price.is_zero();
    plan.filter(paid).ok_or(Unpayable::NoPlan.into())
}

/// The transfer's row: the account's own report of it, with what the bank says, or a new one. Gives the report too.
async fn payment_in(
    connection: &mut PgConnection,
    account: AccountId,
    (plan, invoice): (&Plan, &Invoice),
    transfer: &Transfer,
    now: Timestamp,
) -> Result<(PaymentId, Option<StoredPayment>), BillingError> {
    let seen = NewTransfer {
        external_payment_id: &transfer.external_payment_id,
        invoice: invoice.id,
        plan: plan.id,
        amount: transfer.amount,
        currency: &invoice.currency,
        payer_name: &transfer.payer_name,
        paid_on: transfer.paid_on,
        note: transfer.note.as_deref().unwrap_or(""),
    };
    match payments::store::find_pending(&mut *connection, account, &transfer.external_payment_id).await? {
        None => Ok((payments::store::insert_transfer(connection, account, &seen, now).await?, None)),
        Some(report) => match payments::store::mark_seen(connection, account, report.payment.id, &seen).await? {
            1 => Ok((report.payment.id, Some(report))),
            _ => Err(StoreError::from(sqlx::Error::RowNotFound).into()),
        },
    }
}

/// A part came: the invoice stays open and nothing activates.
async fn part_in(connection: &mut PgConnection, taken: &Taken<'_>, now: Timestamp) -> Result<outcome::Told, BillingError> {
    let account = taken.held.row.id;
    let pools = credits::lots::service::lock_in(connection, account, now).await?.unwrap_or(credits::model::Pools::EMPTY);
    let invoice = get_invoice_in(connection, account, taken.invoice_before.id).await?;
    Ok(outcome::of_part(taken, pools, invoice, now))
}

/// All has come: the invoice takes its money, and the plan starts or is renewed.
async fn settle_in(
    connection: &mut PgConnection,
    taken: &Taken<'_>,
    (kept, waived): (Kept, Money),
    by: Hand<'_>,
    now: Timestamp,
) -> Result<outcome::Told, BillingError> {
    let (held, plan, transfer, invoice) = (taken.held, taken.plan, taken.transfer, taken.invoice_before);
    let account = held.row.id;
    balance::service::move_in(connection, account, kept, (Cause::Settlement(invoice.id), Direction::Out, invoice.amount), now).await?;
    let paid = Paid {
        payment: taken.payment,
        method: PaymentMethod::BankTransfer,
        external_payment_id: transfer.external_payment_id.clone(),
        amount: invoice.amount.less(waived),
    };
    let hold = match held.standing.account {
        AccountStatus::Suspended | AccountStatus::Cancelled => Hold::Lost,
        AccountStatus::Trial | AccountStatus::Active | AccountStatus::PendingPayment => Hold::Kept,
    };
    let started =
        subscriptions::service::apply_payment_in(connection, account, (held.subscription.as_ref(), hold), plan, &paid, now).await?;
    let reset = credits::service::reset_in(connection, account, started.period_seq, plan, &by.origin.actor, now).await?;
    let event = (AccountEvent::PaymentConfirmed, None);
    let status = accounts::life::move_in(connection, account, held.standing.account, event, by.origin, now).await?;
    let plan_now = started.next.and(held.row.plan).unwrap_or(plan.id);
    accounts::store::mark_plan(connection, account, plan_now, Some(PaymentMethod::BankTransfer), now).await?;
    if store::mark_invoice(connection, account, invoice.id, InvoiceStatus::Paid, now).await? != 1 {
        return Err(StoreError::from(sqlx::Error::RowNotFound).into());
    }
    let invoice = get_invoice_in(connection, account, invoice.id).await?;
    Ok(outcome::of_whole(taken, (started, reset, status), invoice, now))
}

/// Keeps the answer with the payment, writes the log and the customer's mail, and gives the answer.
async fn finish_in(
    connection: &mut PgConnection,
    taken: &Taken<'_>,
    (data, message): outcome::Told,
    by: Hand<'_>,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    let (account, payment) = (taken.held.row.id, taken.payment);
    let side = |at: usize| data.changes.iter().map(|(field, sides)| ((*field).to_owned(), sides[at].clone())).collect::<Map<_, _>>();
    let reason = match &taken.transfer.other_amount {
        OtherAmount::Accepted(reason) => Some(reason.clone()),
        OtherAmount::Refused | OtherAmount::Counted => None,
    };
    let change = (side(0).into(), side(1).into());
    record_in(connection, account, "transfer.confirmed", format!("payment:{payment}"), change, reason, by.origin, now).await?;
    notices::confirmed_in(connection, account, terms.outbox, (&data.payment, &data.invoice), now).await?;
    let confirmed = Confirmed { data: written(&data)?, message };
    match payments::store::mark_confirmed(connection, account, payment, by.user, &confirmed.value(), now).await? {
        1 => Ok(confirmed),
        _ => Err(StoreError::from(sqlx::Error::RowNotFound).into()),
    }
}
