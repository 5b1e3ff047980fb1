//! SQL of payments.

use crate::{
    billing::{
        model::{Payment, PaymentStatus},
        store::money,
    },
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, InvoiceId, PaymentId, PaymentMethod, PlanId, UserId},
    money::Money,
};
use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

/// A payment's row as the macros give it.
struct PaymentRow {
    account: AccountId,
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
    created_at: Timestamp,
    plan_slug: Option<String>,
    result: Option<Value>,
}

/// A payment with what clients don't see.
#[derive(Debug, Clone)]
pub struct StoredPayment {
    /// Whose it is.
    pub account: AccountId,
    /// What clients see.
    pub payment: Payment,
    /// The plan that it paid for.
    pub plan_slug: Option<String>,
    /// The first confirmation's answer.
    pub result: Option<Value>,
}

impl TryFrom<PaymentRow> for StoredPayment {
    type Error = StoreError;

    fn try_from(row: PaymentRow) -> Result<Self, StoreError> {
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
            created_at: row.created_at,
        };
        Ok(StoredPayment { account: row.account, payment, plan_slug: row.plan_slug, result: row.result })
    }
}

/// Serialises everybody who talks of one transfer until the transaction ends, whatever account they name.
pub async fn lock_transfer(connection: &mut PgConnection, external_payment_id: &str) -> Result<(), StoreError> {
    let hash = crate::secrets::hash_parts(&[b"transfer", external_payment_id.as_bytes()]);
    let lock = hash.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    sqlx::query!("select pg_advisory_xact_lock($1)", lock).execute(connection).await?;
    Ok(())
}

/// A bank transfer by the bank's reference.
pub async fn find_transfer(executor: impl PgExecutor<'_>, external_payment_id: &str) -> Result<Option<StoredPayment>, StoreError> {
    let row = sqlx::query_as!(
        PaymentRow,
        r#"
        select y.account_id as "account: AccountId", y.payment_id as "id: PaymentId", y.external_payment_id, y.payment_method as "payment_method: PaymentMethod",
               y.status as "status: PaymentStatus", y.invoice_id as "invoice_id: InvoiceId", y.amount, y.currency, y.payer_name, y.paid_on, y.confirmed_at,
               y.created_at, p.slug as "plan_slug?", y.result
        from payments y left join plans p on p.plan_id = y.plan_id
        where y.payment_method = 'bank_transfer' and y.external_payment_id = $1
        "#,
        external_payment_id
    )
    .fetch_optional(executor)
    .await?;
    row.map(StoredPayment::try_from).transpose()
}

/// An account's payments older than a number, newest first.
pub async fn list_payments_older(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    older_than: Option<i64>,
    limit: i64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query_as!(
        PaymentRow,
        r#"
        select account_id as "account: AccountId", payment_id as "id: PaymentId", external_payment_id, payment_method as "payment_method: PaymentMethod",
               status as "status: PaymentStatus", invoice_id as "invoice_id: InvoiceId", amount, currency, payer_name, paid_on, confirmed_at,
               created_at, null::text as plan_slug, null::jsonb as result
        from payments where account_id = $1 and payment_id < $2 order by payment_id desc limit $3
        "#,
        account.0,
        older_than.unwrap_or(i64::MAX),
        limit
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(|row| StoredPayment::try_from(row).map(|stored| stored.payment)).collect()
}

/// An account's payments newer than a number, oldest first.
pub async fn list_payments_newer(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    newer_than: i64,
    limit: i64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query_as!(
        PaymentRow,
        r#"
        select account_id as "account: AccountId", payment_id as "id: PaymentId", external_payment_id, payment_method as "payment_method: PaymentMethod",
               status as "status: PaymentStatus", invoice_id as "invoice_id: InvoiceId", amount, currency, payer_name, paid_on, confirmed_at,
               created_at, null::text as plan_slug, null::jsonb as result
        from payments where account_id = $1 and payment_id > $2 order by payment_id limit $3
        "#,
        account.0,
        newer_than,
        limit
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(|row| StoredPayment::try_from(row).map(|stored| stored.payment)).collect()
}

/// How many payments an account has.
pub async fn count_payments(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from payments where account_id = $1"#, account.0).fetch_one(executor).await?)
}

/// A transfer before it is written.
pub struct NewTransfer<'a> {
    /// The bank's reference.
    pub external_payment_id: &'a str,
    /// The invoice that it pays.
    pub invoice: InvoiceId,
    /// The plan that it pays for.
    pub plan: PlanId,
    /// How much.
    pub amount: Money,
    /// In which currency.
    pub currency: &'a str,
    /// Who paid.
    pub payer_name: &'a str,
    /// When the money moved.
    pub paid_on: Option<NaiveDate>,
    /// For the file.
    pub note: &'a str,
}

/// Writes a transfer that is about to be confirmed in the same transaction.
pub async fn insert_transfer(
    connection: &mut PgConnection,
    account: AccountId,
    new: &NewTransfer<'_>,
    now: Timestamp,
) -> Result<PaymentId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into payments (account_id, external_payment_id, payment_method, status, invoice_id, plan_id, amount, currency, payer_name, paid_on, note, created_at)
        values ($1, $2, 'bank_transfer', 'pending_approval', $3, $4, $5, $6, $7, $8, $9, $10)
        returning payment_id as "id: PaymentId"
        "#,
        account.0,
        new.external_payment_id,
        new.invoice.0,
        new.plan.0,
        new.amount.decimal(),
        new.currency,
        new.payer_name,
        new.paid_on,
        new.note,
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// Confirms a pending transfer and keeps the answer for every repetition.
pub async fn mark_confirmed(
    connection: &mut PgConnection,
    account: AccountId,
    payment: PaymentId,
    by: UserId,
    result: &Value,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update payments set status = 'confirmed', confirmed_by = $3, confirmed_at = $4, result = $5
        where account_id = $1 and payment_id = $2 and status = 'pending_approval'
        "#,
        account.0,
        payment.0,
        by.0,
        now,
        result
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
