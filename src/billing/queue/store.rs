//! SQL of the admins' list.

use super::model::{QueueFilter, QueuedPayment};
use crate::{
    billing::{
        model::{Payment, PaymentStatus},
        store::money,
    },
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, InvoiceId, PaymentId, PaymentMethod},
};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use sqlx::PgExecutor;

/// A row of the admins' list as the macros give it.
struct QueuedRow {
    account: AccountId,
    account_slug: String,
    invoice_number: Option<String>,
    invoice_reference: Option<String>,
    id: PaymentId,
    external_payment_id: String,
    payment_method: PaymentMethod,
    status: PaymentStatus,
    invoice_id: Option<InvoiceId>,
    amount: Decimal,
    currency: String,
    payer_name: String,
    paid_on: Option<NaiveDate>,
    confirmed_at: Option<Timestamp>,
    reason: Option<String>,
    created_at: Timestamp,
    note: String,
}

impl TryFrom<QueuedRow> for QueuedPayment {
    type Error = StoreError;

    fn try_from(row: QueuedRow) -> Result<Self, StoreError> {
        let payment = Payment {
            id: row.id,
            external_payment_id: row.external_payment_id,
            payment_method: row.payment_method,
            status: row.status,
            invoice_id: row.invoice_id,
            amount: money(row.amount)?,
            currency: row.currency,
            payer_name: row.payer_name,
            paid_on: row.paid_on,
            confirmed_at: row.confirmed_at,
            reason: row.reason,
            created_at: row.created_at,
        };
        let (account_id, account_slug) = (row.account, row.account_slug);
        Ok(QueuedPayment {
            account_id,
            account_slug,
            invoice_number: row.invoice_number,
            invoice_reference: row.invoice_reference,
            note: row.note,
            payment,
        })
    }
}

/// Selects payments of all accounts for platform staff; `$1` status, `$2` the bank's reference, `$3` ours.
macro_rules! queued {
    ($rest:tt, $filter:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            QueuedRow,
            r#"
            select y.account_id as "account: AccountId", a.slug as account_slug, i.number as "invoice_number?", i.reference as "invoice_reference?",
                   y.payment_id as "id: PaymentId", y.external_payment_id, y.payment_method as "payment_method: PaymentMethod",
                   y.status as "status: PaymentStatus", y.invoice_id as "invoice_id: InvoiceId", y.amount, y.currency, y.payer_name, y.paid_on,
                   y.confirmed_at, coalesce(y.reversal_reason, y.rejection_reason) as reason, y.created_at, y.note
            from payments y join accounts a on a.account_id = y.account_id
            left join invoices i on i.account_id = y.account_id and i.invoice_id = y.invoice_id
            where ($1::text is null or y.status = $1)
              and ($2::text is null or y.external_payment_id = $2 or i.reference = $3::text) "# + $rest,
            $filter.status.map(PaymentStatus::as_str),
            $filter.reference,
            $filter.invoice_reference
            $(, $argument)*
        )
    };
}

/// Payments of all accounts after a number, oldest first.
pub async fn list_queued_after(
    executor: impl PgExecutor<'_>,
    filter: &QueueFilter,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<QueuedPayment>, StoreError> {
    let rows = queued!("and y.payment_id > $4 order by y.payment_id limit $5", filter, after.unwrap_or(0), limit);
    rows.fetch_all(executor).await?.into_iter().map(QueuedPayment::try_from).collect()
}

/// Payments of all accounts before a number, newest first.
pub async fn list_queued_before(
    executor: impl PgExecutor<'_>,
    filter: &QueueFilter,
    before: i64,
    limit: i64,
) -> Result<Vec<QueuedPayment>, StoreError> {
    let rows = queued!("and y.payment_id < $4 order by y.payment_id desc limit $5", filter, before, limit);
    rows.fetch_all(executor).await?.into_iter().map(QueuedPayment::try_from).collect()
}

/// How many payments of all accounts the filter lets through.
pub async fn count_queued(executor: impl PgExecutor<'_>, filter: &QueueFilter) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from payments y
        left join invoices i on i.account_id = y.account_id and i.invoice_id = y.invoice_id
        where ($1::text is null or y.status = $1) and ($2::text is null or y.external_payment_id = $2 or i.reference = $3::text)
        "#,
        filter.status.map(PaymentStatus::as_str),
        filter.reference,
        filter.invoice_reference
    );
    Ok(count.fetch_one(executor).await?)
}
