//! SQL of invoices.

use super::{
    model::{Invoice, InvoicePurpose, InvoiceStatus},
    rules,
};
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, InvoiceId, PaymentMethod, PlanId},
    money::Money,
};
use rust_decimal::Decimal;
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

pub(super) fn money(amount: Decimal) -> Result<Money, sqlx::Error> {
    Money::from_decimal(amount).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// An invoice's row as the macros give it.
struct InvoiceRow {
    id: InvoiceId,
    number: String,
    reference: String,
    status: InvoiceStatus,
    purpose: InvoicePurpose,
    plan: PlanId,
    plan_slug: String,
    description: String,
    amount: Decimal,
    balance: Decimal,
    currency: String,
    payment_method: PaymentMethod,
    bank_details: Value,
    due_at: Timestamp,
    paid_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// Selects invoices of the account `$1`; a macro, because a checked query must be a literal.
macro_rules! invoices {
    ($rest:tt, $account:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            InvoiceRow,
            r#"
            select i.invoice_id as "id: InvoiceId", i.number, i.reference, i.status as "status: InvoiceStatus", i.purpose as "purpose: InvoicePurpose",
                   i.plan_id as "plan: PlanId", p.slug as plan_slug, i.description, i.amount, coalesce(m.balance, 0) as "balance!", i.currency,
                   i.payment_method as "payment_method: PaymentMethod", i.bank_details, i.due_at, i.paid_at, i.created_at
            from invoices i join plans p on p.plan_id = i.plan_id left join account_money m on m.account_id = i.account_id
            where i.account_id = $1 "# + $rest,
            $account.0
            $(, $argument)*
        )
    };
}

impl TryFrom<InvoiceRow> for Invoice {
    type Error = StoreError;

    fn try_from(row: InvoiceRow) -> Result<Self, StoreError> {
        let (amount, account_balance) = (money(row.amount)?, money(row.balance)?);
        let (paid, outstanding) = rules::paid_and_outstanding(row.status, amount, account_balance);
        Ok(Invoice {
            id: row.id,
            number: row.number,
            reference: row.reference,
            status: row.status,
            purpose: row.purpose,
            plan_slug: row.plan_slug,
            description: row.description,
            amount,
            paid,
            outstanding,
            account_balance,
            currency: row.currency,
            payment_method: row.payment_method,
            bank_details: row.bank_details,
            due_at: row.due_at,
            paid_at: row.paid_at,
            created_at: row.created_at,
            plan: row.plan,
        })
    }
}

/// Takes the account's next invoice number of a month; gapless, because the row stays locked until the commit.
pub async fn next_number(connection: &mut PgConnection, account: AccountId, month: &str) -> Result<i32, StoreError> {
    let number = sqlx::query_scalar!(
        r#"
        insert into invoice_counters (account_id, month, last_number) values ($1, $2, 1)
        on conflict (account_id, month) do update set last_number = invoice_counters.last_number + 1
        returning last_number
        "#,
        account.0,
        month
    )
    .fetch_one(connection)
    .await?;
    Ok(number)
}

/// An invoice before it is written.
pub struct NewInvoice {
    /// For people.
    pub number: String,
    /// For the transfer.
    pub reference: String,
    /// What for.
    pub purpose: InvoicePurpose,
    /// Which plan.
    pub plan: PlanId,
    /// One line.
    pub description: String,
    /// How much.
    pub amount: Money,
    /// In which currency.
    pub currency: String,
    /// How.
    pub payment_method: PaymentMethod,
    /// Whereto.
    pub bank_details: Value,
    /// Until when.
    pub due_at: Timestamp,
}

/// Writes an open invoice.
pub async fn insert_invoice(
    connection: &mut PgConnection,
    account: AccountId,
    new: &NewInvoice,
    now: Timestamp,
) -> Result<InvoiceId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into invoices (account_id, number, reference, status, purpose, plan_id, description, amount, currency, payment_method, bank_details, due_at, created_at)
        values ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10, $11, $12)
        returning invoice_id as "id: InvoiceId"
        "#,
        account.0,
        new.number,
        new.reference,
        new.purpose.as_str(),
        new.plan.0,
        new.description,
        new.amount.decimal(),
        new.currency,
        new.payment_method.as_str(),
        new.bank_details,
        new.due_at,
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// An invoice of the account; another tenant's is not found.
pub async fn find_invoice(executor: impl PgExecutor<'_>, account: AccountId, invoice: InvoiceId) -> Result<Option<Invoice>, StoreError> {
    let row = invoices!("and i.invoice_id = $2", account, invoice.0).fetch_optional(executor).await?;
    row.map(Invoice::try_from).transpose()
}

/// The account's one open invoice, looked at.
pub async fn find_open_invoice(executor: impl PgExecutor<'_>, account: AccountId) -> Result<Option<Invoice>, StoreError> {
    let row = invoices!("and i.status = 'open'", account).fetch_optional(executor).await?;
    row.map(Invoice::try_from).transpose()
}

/// Locks the account's one open invoice, after account and subscription (lock order).
pub async fn lock_open_invoice(connection: &mut PgConnection, account: AccountId) -> Result<Option<Invoice>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"select invoice_id as "id: InvoiceId" from invoices where account_id = $1 and status = 'open' for update"#,
        account.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    match id {
        Some(id) => find_invoice(connection, account, id).await,
        None => Ok(None),
    }
}

/// An account's invoices, newest first.
pub async fn list_invoices(executor: impl PgExecutor<'_>, account: AccountId, limit: i64, offset: i64) -> Result<Vec<Invoice>, StoreError> {
    let rows = invoices!("order by i.invoice_id desc limit $2 offset $3", account, limit, offset).fetch_all(executor).await?;
    rows.into_iter().map(Invoice::try_from).collect()
}

/// How many invoices an account has.
pub async fn count_invoices(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from invoices where account_id = $1"#, account.0).fetch_one(executor).await?)
}

/// The account that an invoice number belongs to.
pub async fn find_account_of_invoice(executor: impl PgExecutor<'_>, number: &str) -> Result<Option<AccountId>, StoreError> {
    Ok(sqlx::query_scalar!(r#"select account_id as "id: AccountId" from invoices where number = $1"#, number)
        .fetch_optional(executor)
        .await?)
}

/// The account that an invoice's payment reference belongs to.
pub async fn find_account_of_reference(executor: impl PgExecutor<'_>, reference: &str) -> Result<Option<AccountId>, StoreError> {
    Ok(sqlx::query_scalar!(r#"select account_id as "id: AccountId" from invoices where reference = $1"#, reference)
        .fetch_optional(executor)
        .await?)
}

/// The living account of a living user, by his canonical address.
pub async fn find_account_of_email(executor: impl PgExecutor<'_>, email: &str) -> Result<Option<AccountId>, StoreError> {
    Ok(sqlx::query_scalar!(
        r#"
        select a.account_id as "id: AccountId" from users u join accounts a on a.account_id = u.account_id
        where u.email = $1 and u.deleted_at is null and a.deleted_at is null
        "#,
        email
    )
    .fetch_optional(executor)
    .await?)
}

/// The account that an invoice belongs to.
pub async fn find_account_of_invoice_id(executor: impl PgExecutor<'_>, invoice: InvoiceId) -> Result<Option<AccountId>, StoreError> {
    Ok(sqlx::query_scalar!(r#"select account_id as "id: AccountId" from invoices where invoice_id = $1"#, invoice.0)
        .fetch_optional(executor)
        .await?)
}

/// Closes an open invoice as paid or void. Exactly one row, or it was not open.
pub async fn mark_invoice(
    connection: &mut PgConnection,
    account: AccountId,
    invoice: InvoiceId,
    status: InvoiceStatus,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update invoices set status = $3, paid_at = case when $3 = 'paid' then $4::timestamptz end, voided_at = case when $3 = 'void' then $4::timestamptz end
        where account_id = $1 and invoice_id = $2 and status = 'open'
        "#,
        account.0,
        invoice.0,
        status.as_str(),
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Opens a paid invoice again, because its transfer was taken back. Exactly one row, or it was not paid.
pub async fn mark_reopened(connection: &mut PgConnection, account: AccountId, invoice: InvoiceId) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update invoices set status = 'open', paid_at = null where account_id = $1 and invoice_id = $2 and status = 'paid'",
        account.0,
        invoice.0
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Withdraws a paid invoice whose transfer was taken back. Exactly one row, or it was not paid.
pub async fn mark_withdrawn(
    connection: &mut PgConnection,
    account: AccountId,
    invoice: InvoiceId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        "update invoices set status = 'void', paid_at = null, voided_at = $3 where account_id = $1 and invoice_id = $2 and status = 'paid'",
        account.0,
        invoice.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}
