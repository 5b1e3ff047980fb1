//! Moves credits. Each public verb is one transaction, or joins the caller's (`_in`).

use super::{
    holds::{self, rules::HoldRefused},
    lots::{self, model::Lot},
    model::{Pools, TakenBack, Transaction, TransactionKind},
    refunds::rules::RefundRefused,
    rules::MoveRefused,
    store::{self, NewEntry},
};
use crate::{
    audit,
    clock::Timestamp,
    db::{MayCollide, StoreError},
    ids::AccountId,
    money::{Credits, CreditsOutOfRange},
    plans::model::Plan,
};
use serde_json::{Value, json};
use sqlx::PgConnection;

/// Why credits did not move.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    /// The pools can't move so.
    #[error(transparent)]
    Refused(#[from] MoveRefused),
    /// The entry can't be given back, or not so much of it.
    #[error(transparent)]
    NotRefundable(#[from] RefundRefused),
    /// The hold can't be placed or settled.
    #[error(transparent)]
    Hold(#[from] HoldRefused),
    /// No entry of that number.
    #[error("the account has no such entry")]
    NoEntry,
    /// The key came with other input before.
    #[error("the idempotency key was used with other input")]
    KeyReused,
    /// The account has no balance: it was never signed up.
    #[error("the account has no balance")]
    NoBalance,
    /// The account was stopped, or its period ended, since the request was let in.
    #[error("the account may not spend")]
    NotAdmitted,
    /// So many extra credits that expire at different times are not kept apart.
    #[error("the account has too many lots of extra credits")]
    TooManyLots,
    /// The spend came with a witness, and nothing of it was written: the gate has to be asked, then it can be tried again.
    #[error("the spender is not proven")]
    Unproven,
    /// Too many spends are waiting, or the connection was lost while this one was.
    #[error("the ledger is busy")]
    Busy,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CreditsOutOfRange> for CreditError {
    fn from(_: CreditsOutOfRange) -> Self {
        CreditError::Refused(MoveRefused::OutOfRange)
    }
}

impl MayCollide for CreditError {
    fn is_collision(&self) -> bool {
        matches!(self, CreditError::Store(error) if error.is_collision())
    }
}

/// What a request did to the ledger.
#[derive(Debug, Clone, PartialEq)]
pub enum Receipt {
    /// A debit's entry.
    Entry(Transaction),
    /// What became of a hold, as the client is told it.
    Hold(Value),
}

impl Receipt {
    /// Credits that are gone: those of a debit or a capture. Placing and releasing a hold spends none.
    pub fn credits_spent(&self) -> u64 {
        let amount = match self {
            Receipt::Entry(entry) => entry.amount.get(),
            Receipt::Hold(answer) => answer["transaction"]["amount"].as_i64().unwrap_or(0),
        };
        amount.min(0).unsigned_abs()
    }
}

/// Whether a receipt is new or the answer to a request that was sent again.
#[derive(Debug, Clone, PartialEq)]
pub enum Spent {
    /// Done now.
    New(Receipt),
    /// Done when the key was first seen; nothing happened now.
    Replayed(Receipt),
}

/// Opens a new account's ledger with its plan's credits (A2).
pub async fn seed_in(
    connection: &mut PgConnection,
    account: AccountId,
    period_seq: i32,
    plan: &Plan,
    actor: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    store::insert_balance(connection, account).await?;
    let Ok(Some(moved)) = Pools::EMPTY.grant_plan(plan.credits_per_month) else { return Ok(()) };
    let entry = NewEntry {
        account,
        kind: TransactionKind::Subscription,
        moved,
        work: None,
        description: format!("Initial credits from {}", plan.name),
        metadata: json!({"registration": true, "plan_slug": plan.slug}),
        reference: None,
        period_seq: Some(period_seq),
        actor,
        key: None,
    };
    store::append_entry(connection, entry, now).await.map(drop)
}

/// What a reset did.
#[derive(Debug, Clone, PartialEq)]
pub struct Reset {
    /// Both pools before.
    pub before: Credits,
    /// Both pools after.
    pub after: Credits,
    /// Each pool after.
    pub pools: Pools,
    /// The grant; none for a plan without credits.
    pub grant: Option<Transaction>,
}

/// Resets the plan pool for a period: what is left expires, then the plan's credits are granted (B2, B3). Two ledger rows,
/// never an absolute write; extra credits stay. Holds that are not covered any more are displaced.
pub async fn reset_in(
    connection: &mut PgConnection,
    account: AccountId,
    period_seq: i32,
    plan: &Plan,
    actor: &str,
    now: Timestamp,
) -> Result<Reset, CreditError> {
    let mut pools = lots::service::lock_in(connection, account, now).await?.ok_or(CreditError::NoBalance)?;
    let before = pools.total();
    let metadata = json!({"plan_slug": plan.slug, "period": period_seq});
    let entry = |kind, moved, description| NewEntry {
        account,
        kind,
        moved,
        work: None,
        description,
        metadata: metadata.clone(),
        reference: None,
        period_seq: Some(period_seq),
        actor,
        key: None,
    };
    if let Some(moved) = pools.expire_plan()? {
        store::append_entry(connection, entry(TransactionKind::Expiry, moved, "Unused credits of the period before".to_owned()), now)
            .await?;
        pools = moved.after;
    }
    let mut grant = None;
    if let Some(moved) = pools.grant_plan(plan.credits_per_month)? {
        grant = Some(
            store::append_entry(connection, entry(TransactionKind::Subscription, moved, format!("Credits from {}", plan.name)), now)
                .await?,
        );
        pools = moved.after;
    }
    let pools = holds::service::fit_in(connection, account, pools, now).await?;
    Ok(Reset { before, after: pools.total(), pools, grant })
}

/// Whether there is time left in which credits are worth something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLeft {
    /// There is: what had expired for the grant comes back, less what was spent.
    Some,
    /// There is none.
    None,
}

/// Takes back what is left of a period's grant, in the plan pool only: compensating entries, nothing is rewritten. Gives both
/// pools before and after too. A grant that another has followed has nothing left. Holds that are not covered any more are displaced.
pub async fn take_back_in(
    connection: &mut PgConnection,
    account: AccountId,
    (period_seq, left): (i32, TimeLeft),
    reference: &str,
    actor: &str,
    now: Timestamp,
) -> Result<(TakenBack, [Credits; 2]), CreditError> {
    let mut pools = lots::service::lock_in(connection, account, now).await?.ok_or(CreditError::NoBalance)?;
    let before = pools.total();
    let Some(granted) = store::find_granted(connection, account, period_seq).await? else {
        let nothing = TakenBack { granted: Credits::ZERO, taken_back: Credits::ZERO, spent: Credits::ZERO, given_back: Credits::ZERO };
        return Ok((nothing, [before, before]));
    };
    let entry = |moved, description: &str| NewEntry {
        account,
        kind: TransactionKind::Adjustment,
        moved,
        work: None,
        description: description.to_owned(),
        metadata: json!({"reversal": true, "external_payment_id": reference}),
        reference: None,
        period_seq: Some(period_seq),
        actor,
        key: None,
    };
    let (mut taken_back, mut given_back) = (Credits::ZERO, Credits::ZERO);
    let is_last = !granted.is_over;
    if is_last && let Some(moved) = pools.take_plan(granted.amount)? {
        store::append_entry(connection, entry(moved, "Taken back with the transfer that paid for it"), now).await?;
        (taken_back, pools) = (moved.plan.negated(), moved.after);
    }
    let unspent = granted.expired.minus(granted.spent)?.max(Credits::ZERO);
    if is_last
        && left == TimeLeft::Some
        && let Some(moved) = pools.grant_plan(unspent)?
    {
        store::append_entry(connection, entry(moved, "Given back with the time before"), now).await?;
        (given_back, pools) = (moved.plan, moved.after);
    }
    let pools = holds::service::fit_in(connection, account, pools, now).await?;
    let told = TakenBack { granted: granted.amount, taken_back, spent: granted.spent, given_back };
    Ok((told, [before, pools.total()]))
}

/// Credits that staff move.
#[derive(Debug)]
pub struct StaffMove<'a> {
    /// Signed.
    pub amount: Credits,
    /// An adjustment, or a purchase that is above zero.
    pub kind: TransactionKind,
    /// When what is left of credits given is gone; none: never.
    pub expires_at: Option<Timestamp>,
    /// Why; stands on the statement.
    pub reason: &'a str,
}

/// Moves an account's credits by staff's hand: up into the extra pool, down in the order of spending. Audited.
pub async fn adjust_in(
    connection: &mut PgConnection,
    account: AccountId,
    by: &StaffMove<'_>,
    origin: &audit::model::Origin,
    now: Timestamp,
) -> Result<Transaction, CreditError> {
    let pools = lots::service::lock_in(connection, account, now).await?.ok_or(CreditError::NoBalance)?;
    let moved = pools.adjust_extra(by.amount)?;
    let entry = NewEntry {
        account,
        kind: by.kind,
        moved,
        work: None,
        description: by.reason.to_owned(),
        metadata: by.expires_at.map_or_else(|| json!({}), |expires_at| json!({"expires_at": expires_at})),
        reference: None,
        period_seq: None,
        actor: &origin.actor,
        key: None,
    };
    let transaction = store::append_entry(connection, entry, now).await?;
    if moved.extra > Credits::ZERO {
        let lot = Lot { seq: transaction.id, remaining: moved.extra, expires_at: by.expires_at };
        lots::service::grant_in(connection, account, pools, lot).await?;
    }
    let record = audit::model::Entry {
        account: Some(account),
        action: if by.kind == TransactionKind::Purchase { "credits.purchased" } else { "credits.adjusted" },
        target: format!("account:{account}"),
        before: json!({"credits": pools.total()}),
        after: json!({"credits": transaction.balance_after, "transaction": transaction.id}),
        reason: Some(by.reason.to_owned()),
        at: now,
    };
    audit::service::record_in(connection, origin, &record).await?;
    Ok(transaction)
}
