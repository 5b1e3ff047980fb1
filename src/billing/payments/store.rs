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
    reason: Option<String>,
    created_at: Timestamp,
    plan_slug: Option<String>,
    note: String,
    result: Option<Value>,
    reversal_result: Option<Value>,
}

/// Selects payments; a macro, because a checked query must be a literal.
macro_rules! payments {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            PaymentRow,
            r#"
            select y.account_id as "account: AccountId", y.payment_id as "id: PaymentId", y.external_payment_id,
                   y.payment_method as "payment_method: PaymentMethod", y.status as "status: PaymentStatus", y.invoice_id as "invoice_id: InvoiceId",
                   y.amount, y.currency, y.payer_name, y.paid_on, y.confirmed_at, coalesce(y.reversal_reason, y.rejection_reason) as reason,
                   y.created_at, p.slug as "plan_slug?", y.note, y.result, y.reversal_result
            from payments y left join plans p on p.plan_id = y.plan_id "# + $rest
            $(, $argument)*
        )
    };
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
    /// What was noted of it.
    pub note: String,
    /// The first confirmation's answer.
    pub result: Option<Value>,
    /// The first reversal's answer.
    pub reversal_result: Option<Value>,
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
            reason: row.reason,
            created_at: row.created_at,
        };
        let (note, result, reversal_result) = (row.note, row.result, row.reversal_result);
        Ok(StoredPayment { account: row.account, payment, plan_slug: row.plan_slug, note, result, reversal_result })
    }
}

/// Serialises everybody who talks of one transfer until the transaction ends, whatever account they name.
pub async fn lock_transfer(connection: &mut PgConnection, external_payment_id: &str) -> Result<(), StoreError> {
    let hash = crate::secrets::hash_parts(&[b"transfer", external_payment_id.as_bytes()]);
    let lock = hash.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    sqlx::query!("select pg_advisory_xact_lock($1)", lock).execute(connection).await?;
    Ok(())
}

/// A bank transfer by the bank's reference, confirmed or taken back: of each reference there is one.
pub async fn find_transfer(executor: impl PgExecutor<'_>, external_payment_id: &str) -> Result<Option<StoredPayment>, StoreError> {
    let row = payments!(
        "where y.payment_method = 'bank_transfer' and y.external_payment_id = $1 and y.status in ('confirmed', 'reversed')",
        external_payment_id
    );
    row.fetch_optional(executor).await?.map(StoredPayment::try_from).transpose()
}

/// What an account has reported under a reference and nobody has judged.
pub async fn find_pending(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    external_payment_id: &str,
) -> Result<Option<StoredPayment>, StoreError> {
    let row = payments!(
        "where y.account_id = $1 and y.payment_method = 'bank_transfer' and y.external_payment_id = $2 and y.status = 'pending_approval'",
        account.0,
        external_payment_id
    );
    row.fetch_optional(executor).await?.map(StoredPayment::try_from).transpose()
}

/// A payment of any account, for platform staff.
pub async fn find_payment(executor: impl PgExecutor<'_>, payment: PaymentId) -> Result<Option<StoredPayment>, StoreError> {
    payments!("where y.payment_id = $1", payment.0).fetch_optional(executor).await?.map(StoredPayment::try_from).transpose()
}

/// An account's payments older than a number, newest first; all, or those of one status.
pub async fn list_payments_older(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    status: Option<PaymentStatus>,
    older_than: Option<i64>,
    limit: i64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = payments!(
        "where y.account_id = $1 and ($2::text is null or y.status = $2) and y.payment_id < $3 order by y.payment_id desc limit $4",
        account.0,
        status.map(PaymentStatus::as_str),
        older_than.unwrap_or(i64::MAX),
        limit
    );
    clients_see(rows.fetch_all(executor).await?)
}

/// An account's payments newer than a number, oldest first; all, or those of one status.
pub async fn list_payments_newer(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    status: Option<PaymentStatus>,
    newer_than: i64,
    limit: i64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = payments!(
        "where y.account_id = $1 and ($2::text is null or y.status = $2) and y.payment_id > $3 order by y.payment_id limit $4",
        account.0,
        status.map(PaymentStatus::as_str),
        newer_than,
        limit
    );
    clients_see(rows.fetch_all(executor).await?)
}

fn clients_see(rows: Vec<PaymentRow>) -> Result<Vec<Payment>, StoreError> {
    rows.into_iter().map(|row| StoredPayment::try_from(row).map(|stored| stored.payment)).collect()
}

/// How many payments an account has, of all or of one status.
pub async fn count_payments(executor: impl PgExecutor<'_>, account: AccountId, status: Option<PaymentStatus>) -> Result<i64, StoreError> {
    let status = status.map(PaymentStatus::as_str);
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from payments where account_id = $1 and ($2::text is null or status = $2)"#,
        account.0,
        status
    );
    Ok(count.fetch_one(executor).await?)
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

/// Writes a transfer that somebody reported, or that is about to be confirmed in the same transaction.
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
    by: Option<UserId>,
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
        by.map(|user| user.0),
        now,
        result
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Gives what was reported the content of what the bank says. Exactly one row, or it was judged meanwhile.
pub async fn mark_seen(
    connection: &mut PgConnection,
    account: AccountId,
    payment: PaymentId,
    seen: &NewTransfer<'_>,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update payments set invoice_id = $3, plan_id = $4, amount = $5, currency = $6, payer_name = $7, paid_on = coalesce($8, paid_on),
            note = case when $9 = '' then note else $9 end
        where account_id = $1 and payment_id = $2 and status = 'pending_approval'
        "#,
        account.0,
        payment.0,
        seen.invoice.0,
        seen.plan.0,
        seen.amount.decimal(),
        seen.currency,
        seen.payer_name,
        seen.paid_on,
        seen.note
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Rejects what was reported. Exactly one row, or it was judged meanwhile.
pub async fn mark_rejected(
    connection: &mut PgConnection,
    account: AccountId,
    payment: PaymentId,
    (by, reason): (UserId, &str),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update payments set status = 'rejected', rejected_by = $3, rejection_reason = $4, rejected_at = $5
        where account_id = $1 and payment_id = $2 and status = 'pending_approval'
        "#,
        account.0,
        payment.0,
        by.0,
        reason,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Marks a confirmed transfer as taken back and keeps the answer for every repetition. Exactly one row, or it was already.
pub async fn mark_reversed(
    connection: &mut PgConnection,
    account: AccountId,
    payment: PaymentId,
    (by, reason, result): (UserId, &str, &Value),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update payments set status = 'reversed', reversed_by = $3, reversal_reason = $4, reversal_result = $5, reversed_at = $6
        where account_id = $1 and payment_id = $2 and status = 'confirmed'
        "#,
        account.0,
        payment.0,
        by.0,
        reason,
        result,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// How many reports of an account nobody has judged.
pub async fn count_pending(connection: &mut PgConnection, account: AccountId) -> Result<i64, StoreError> {
    count_payments(connection, account, Some(PaymentStatus::PendingApproval)).await
}

/// The numbers of all payments of an invoice.
pub async fn list_ids_of_invoice(connection: &mut PgConnection, account: AccountId, invoice: InvoiceId) -> Result<Vec<i64>, StoreError> {
    let ids = sqlx::query_scalar!("select payment_id from payments where account_id = $1 and invoice_id = $2", account.0, invoice.0);
    Ok(ids.fetch_all(connection).await?)
}
