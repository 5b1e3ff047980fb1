//! SQL of statements.

use super::model::{Candidate, Direction, ReadLine, StatementFormat, StatementSummary};
use crate::{
    billing::{model::InvoiceStatus, rules, store::money},
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, PaymentId, StatementId},
    money::Money,
};
use chrono::NaiveDate;
use sqlx::{PgConnection, PgExecutor};

/// Open invoices that lines are matched with, at the most: the newest.
const CANDIDATES_MAX: i64 = 20_000;

/// Selects statements; a macro, because a checked query must be a literal.
macro_rules! statements {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            StatementSummary,
            r#"
            select s.statement_id as "id: StatementId", s.format as "format: StatementFormat", s.known_lines, s.actor, s.created_at,
                   (select count(*) from bank_statement_lines l where l.statement_id = s.statement_id) as "lines!",
                   (select count(*) from bank_statement_lines l where l.statement_id = s.statement_id and l.applied_at is not null) as "applied!"
            from bank_statements s "# + $rest
            $(, $argument)*
        )
    };
}

/// Writes a statement; none where this very file was read in before.
pub async fn insert_statement(
    connection: &mut PgConnection,
    format: StatementFormat,
    file_hash: &[u8],
    actor: &str,
    now: Timestamp,
) -> Result<Option<StatementId>, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into bank_statements (format, file_hash, known_lines, actor, created_at) values ($1, $2, 0, $3, $4)
        on conflict (file_hash) do nothing
        returning statement_id as "id: StatementId"
        "#,
        format.as_str(),
        file_hash,
        actor,
        now
    );
    Ok(id.fetch_optional(connection).await?)
}

/// Writes the lines that no statement has staged before, numbered as in the file, and counts the others.
pub async fn insert_lines(
    connection: &mut PgConnection,
    statement: StatementId,
    lines: &[(ReadLine, [u8; 32], String)],
) -> Result<(), StoreError> {
    let column = |of: fn(&ReadLine) -> String| lines.iter().map(|(line, ..)| of(line)).collect::<Vec<_>>();
    let hashes = lines.iter().map(|(_, hash, _)| hash.to_vec()).collect::<Vec<_>>();
    let references = lines.iter().map(|(.., reference)| reference.clone()).collect::<Vec<_>>();
    let days = lines.iter().map(|(line, ..)| line.booked_on).collect::<Vec<_>>();
    let amounts = lines.iter().map(|(line, ..)| line.amount.decimal()).collect::<Vec<_>>();
    sqlx::query!(
        r#"
        insert into bank_statement_lines (statement_id, line_no, line_hash, booked_on, amount, direction, currency, payer_name, remittance, external_payment_id)
        select $1, line_no::integer, line_hash, booked_on, amount, direction, currency, payer_name, remittance, external_payment_id
        from unnest($2::bytea[], $3::date[], $4::numeric[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[])
            with ordinality as file (line_hash, booked_on, amount, direction, currency, payer_name, remittance, external_payment_id, line_no)
        on conflict (line_hash) do nothing
        "#,
        statement.0,
        &hashes[..],
        &days[..],
        &amounts[..],
        &column(|line| line.direction.as_str().to_owned())[..],
        &column(|line| line.currency.clone())[..],
        &column(|line| line.payer_name.clone())[..],
        &column(|line| line.remittance.clone())[..],
        &references[..]
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        update bank_statements set known_lines = $2 - (select count(*) from bank_statement_lines where statement_id = $1)::integer
        where statement_id = $1
        "#,
        statement.0,
        i32::try_from(lines.len()).unwrap_or(i32::MAX)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The statement of a file that was read in before.
pub async fn find_by_file(executor: impl PgExecutor<'_>, file_hash: &[u8]) -> Result<Option<StatementSummary>, StoreError> {
    Ok(statements!("where s.file_hash = $1", file_hash).fetch_optional(executor).await?)
}

/// One statement.
pub async fn find_statement(executor: impl PgExecutor<'_>, id: StatementId) -> Result<Option<StatementSummary>, StoreError> {
    Ok(statements!("where s.statement_id = $1", id.0).fetch_optional(executor).await?)
}

/// Statements older than a number, newest first.
pub async fn list_older(executor: impl PgExecutor<'_>, older_than: Option<i64>, limit: i64) -> Result<Vec<StatementSummary>, StoreError> {
    let rows = statements!("where s.statement_id < $1 order by s.statement_id desc limit $2", older_than.unwrap_or(i64::MAX), limit);
    Ok(rows.fetch_all(executor).await?)
}

/// Statements newer than a number, oldest first.
pub async fn list_newer(executor: impl PgExecutor<'_>, newer_than: i64, limit: i64) -> Result<Vec<StatementSummary>, StoreError> {
    Ok(statements!("where s.statement_id > $1 order by s.statement_id limit $2", newer_than, limit).fetch_all(executor).await?)
}

/// A staged line as it is stored.
#[derive(Clone, Debug)]
pub struct StoredLine {
    /// Its number.
    pub line: i32,
    /// What the file says.
    pub read: ReadLine,
    /// Under which its money counts once.
    pub external_payment_id: String,
    /// When it became a payment.
    pub applied_at: Option<Timestamp>,
    /// Which payment.
    pub payment_id: Option<PaymentId>,
}

/// A line's row as the macros give it.
struct LineRow {
    line_no: i32,
    booked_on: NaiveDate,
    amount: rust_decimal::Decimal,
    direction: Direction,
    currency: String,
    payer_name: String,
    remittance: String,
    external_payment_id: String,
    applied_at: Option<Timestamp>,
    payment_id: Option<PaymentId>,
}

impl TryFrom<LineRow> for StoredLine {
    type Error = StoreError;

    fn try_from(row: LineRow) -> Result<Self, StoreError> {
        let (booked_on, amount, bank_reference) = (row.booked_on, money(row.amount)?, row.external_payment_id.clone());
        let (direction, currency, payer_name, remittance) = (row.direction, row.currency, row.payer_name, row.remittance);
        let read = ReadLine { booked_on, amount, direction, currency, payer_name, remittance, bank_reference };
        let (external_payment_id, applied_at, payment_id) = (row.external_payment_id, row.applied_at, row.payment_id);
        Ok(StoredLine { line: row.line_no, read, external_payment_id, applied_at, payment_id })
    }
}

/// Selects lines of the statement `$1`.
macro_rules! lines {
    ($rest:tt, $statement:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            LineRow,
            r#"
            select line_no, booked_on, amount, direction as "direction: Direction", currency, payer_name, remittance, external_payment_id, applied_at,
                   payment_id as "payment_id: PaymentId"
            from bank_statement_lines where statement_id = $1 "# + $rest,
            $statement.0
            $(, $argument)*
        )
    };
}

/// Lines after a number, in the order of the file.
pub async fn list_lines(
    executor: impl PgExecutor<'_>,
    statement: StatementId,
    after: i32,
    limit: i64,
) -> Result<Vec<StoredLine>, StoreError> {
    let rows = lines!("and line_no > $2 order by line_no limit $3", statement, after, limit).fetch_all(executor).await?;
    rows.into_iter().map(StoredLine::try_from).collect()
}

/// Locks a line: of those who apply it at once, one does.
pub async fn lock_line(connection: &mut PgConnection, statement: StatementId, line: i32) -> Result<Option<StoredLine>, StoreError> {
    let row = lines!("and line_no = $2 for update", statement, line).fetch_optional(connection).await?;
    row.map(StoredLine::try_from).transpose()
}

/// Marks a line as the payment that it became. Exactly one row, or it was one already.
pub async fn mark_applied(
    connection: &mut PgConnection,
    (statement, line): (StatementId, i32),
    (account, payment): (AccountId, PaymentId),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update bank_statement_lines set applied_at = $5, account_id = $3, payment_id = $4
        where statement_id = $1 and line_no = $2 and applied_at is null
        "#,
        statement.0,
        line,
        account.0,
        payment.0,
        now
    );
    Ok(done.execute(connection).await?.rows_affected())
}

/// Open invoices with the names of those who may pay them.
pub async fn list_candidates(executor: impl PgExecutor<'_>) -> Result<Vec<Candidate>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select i.account_id as "account: AccountId", i.number, i.reference, i.currency, i.amount, coalesce(m.balance, 0) as "balance!", a.name, a.slug,
               coalesce((select array_agg(u.first_name || ' ' || u.last_name) from users u
                         where u.account_id = i.account_id and u.deleted_at is null and u.last_name <> ''), '{}') as "people!"
        from invoices i join accounts a on a.account_id = i.account_id left join account_money m on m.account_id = i.account_id
        where i.status = 'open' order by i.invoice_id desc limit $1
        "#,
        CANDIDATES_MAX
    );
    let rows = rows.fetch_all(executor).await?;
    rows.into_iter()
        .map(|row| {
            let (amount, balance): (Money, Money) = (money(row.amount)?, money(row.balance)?);
            let (_, outstanding) = rules::paid_and_outstanding(InvoiceStatus::Open, amount, balance);
            let names = row.people.into_iter().chain([row.name]).collect();
            let (account, slug, number, reference, currency) = (row.account, row.slug, row.number, row.reference, row.currency);
            Ok(Candidate { account, slug, number, reference, currency, outstanding, names })
        })
        .collect()
}
