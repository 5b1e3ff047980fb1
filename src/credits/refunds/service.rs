//! Gives deductions back.

use super::{rules, store};
use crate::{
    audit,
    clock::Timestamp,
    credits::{
        lots::{self, model::Lot},
        model::{Transaction, TransactionKind},
        service::CreditError,
        store::{NewEntry, append_entry},
    },
    ids::AccountId,
    money::Credits,
};
use serde_json::json;
use sqlx::PgConnection;

/// What somebody gives back.
#[derive(Debug)]
pub struct Refund<'a> {
    /// The deduction's number.
    pub deduction: i64,
    /// How much; none: all that is left of it.
    pub amount: Option<Credits>,
    /// Why; stands on the statement.
    pub reason: &'a str,
}

/// Gives a deduction back, in whole or in part. Extra credits come back without an end. Audited.
///
/// # Errors
///
/// [`CreditError::NotRefundable`], or [`CreditError::NoEntry`] where there is no such entry.
pub async fn refund_in(
    connection: &mut PgConnection,
    account: AccountId,
    refund: &Refund<'_>,
    origin: &audit::model::Origin,
    now: Timestamp,
) -> Result<Transaction, CreditError> {
    let pools = lots::service::lock_in(connection, account, now).await?.ok_or(CreditError::NoBalance)?;
    let entry = store::find_refundable(connection, account, refund.deduction).await?.ok_or(CreditError::NoEntry)?;
    let (plan, extra) = rules::split(entry, refund.amount)?;
    let entry = NewEntry {
        account,
        kind: TransactionKind::Refund,
        moved: pools.refund(plan, extra)?,
        work: None,
        description: refund.reason.to_owned(),
        metadata: json!({"refund_of": refund.deduction}),
        reference: None,
        period_seq: None,
        actor: &origin.actor,
        key: None,
    };
    let transaction = append_entry(connection, entry, now).await?;
    store::insert_refund(connection, account, (transaction.id, refund.deduction), transaction.amount).await?;
    if extra > Credits::ZERO {
        lots::service::grant_in(connection, account, pools, Lot { seq: transaction.id, remaining: extra, expires_at: None }).await?;
    }
    let record = audit::model::Entry {
        account: Some(account),
        action: "credits.refunded",
        target: format!("transaction:{}", refund.deduction),
        before: json!({"credits": pools.total()}),
        after: json!({"credits": transaction.balance_after, "transaction": transaction.id}),
        reason: Some(refund.reason.to_owned()),
        at: now,
    };
    audit::service::record_in(connection, origin, &record).await?;
    Ok(transaction)
}
