//! Reads statements in and applies their lines. Each line is a transaction of its own: one that is refused spoils no other.

use super::{
    model::{Candidate, LineOutcome, LineWish, ReadLine, Statement, StatementFault, StatementLine, StatementSummary},
    rules::{self, Reading},
    store::{self, StoredLine},
};
use crate::{
    billing::{
        confirmation::{self, Hand},
        model::{Confirmed, OtherAmount, Payee, Run, Transfer},
        payments,
        service::{BillingError, Terms, end},
    },
    clock::Timestamp,
    db::{self, MayCollide, Pool, StoreError},
    ids::StatementId,
    secrets,
};
use std::collections::HashMap;

/// Lines on a page.
pub const LINES_SHOWN: i64 = 100;

/// Why a statement was not read in, or a line not applied.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The file can't be read.
    #[error(transparent)]
    Fault(#[from] StatementFault),
    /// No such statement.
    #[error("there is no such statement")]
    NotFound,
    /// The statement has no such line.
    #[error("the statement has no such line")]
    NoLine,
    /// Whose money it is can't be told.
    #[error("the line fits no open invoice: {0}")]
    Unmatched(&'static str),
    /// The invoice was paid or withdrawn since the line was matched with it.
    #[error("the invoice was closed meanwhile")]
    InvoiceClosed,
    /// What a confirmation says.
    #[error(transparent)]
    Billing(#[from] BillingError),
}

impl From<StoreError> for StatementError {
    fn from(error: StoreError) -> Self {
        StatementError::Billing(error.into())
    }
}

impl MayCollide for StatementError {
    fn is_collision(&self) -> bool {
        matches!(self, StatementError::Billing(error) if error.is_collision())
    }
}

/// Reads a file in: every line of it that is new is staged, and nothing else happens. The same file again is the same statement.
pub async fn import(pool: &Pool, bytes: Vec<u8>, reading: Reading, actor: &str, now: Timestamp) -> Result<Statement, StatementError> {
    let file_hash = secrets::hash_parts(&[b"bank statement", &bytes]);
    // Up to two megabytes are read: not on a thread that others wait for.
    let read = tokio::task::spawn_blocking(move || rules::read(&bytes, &reading).map(|(format, lines)| (format, hashed(lines)))).await;
    let (format, lines) = read.map_err(|_| StoreError::from(sqlx::Error::WorkerCrashed))??;
    let lines = &lines;
    let staged = db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let Some(id) = store::insert_statement(&mut tx, format, &file_hash, actor, now).await? else { return Ok(None) };
        store::insert_lines(&mut tx, id, lines).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(Some(id))
    });
    let summary = match staged.await? {
        Some(id) => return open(pool, id, 0).await,
        None => store::find_by_file(pool, &file_hash).await?.ok_or(StatementError::NotFound)?,
    };
    Ok(Statement { already_imported: true, ..page(pool, summary, 0).await? })
}

/// Each line with its hash and the reference under which its money counts once. Like lines of one file are told apart by
/// their order among each other.
fn hashed(lines: Vec<ReadLine>) -> Vec<(ReadLine, [u8; 32], String)> {
    let mut like = HashMap::<[u8; 32], u32>::new();
    let hash = |line: &ReadLine| {
        let (day, amount) = (line.booked_on.to_string(), line.amount.to_string());
        let parts = [&day, &amount, line.direction.as_str(), &line.currency, &line.payer_name, &line.remittance, &line.bank_reference];
        secrets::hash_parts(&parts.map(str::as_bytes))
    };
    let one = |line: ReadLine| {
        let same = hash(&line);
        let nth = like.entry(same).and_modify(|count| *count += 1).or_insert(1);
        let own = secrets::hash_parts(&[&same, &nth.to_be_bytes()]);
        let made = own.iter().take(8).map(|byte| format!("{byte:02X}")).collect::<String>();
        let reference = if line.bank_reference.is_empty() { format!("ST-{made}") } else { line.bank_reference.clone() };
        (line, own, reference)
    };
    lines.into_iter().map(one).collect()
}

/// A statement with a page of its lines, matched with what is open now.
pub async fn open(pool: &Pool, id: StatementId, after_line: i32) -> Result<Statement, StatementError> {
    let summary = store::find_statement(pool, id).await?.ok_or(StatementError::NotFound)?;
    page(pool, summary, after_line).await
}

async fn page(pool: &Pool, summary: StatementSummary, after_line: i32) -> Result<Statement, StatementError> {
    let mut lines = store::list_lines(pool, summary.id, after_line, LINES_SHOWN + 1).await?;
    let has_more = i64::try_from(lines.len()).is_ok_and(|count| count > LINES_SHOWN);
    if has_more {
        lines.pop();
    }
    let candidates = store::list_candidates(pool).await?;
    let next_line = lines.last().filter(|_| has_more).map(|last| last.line);
    let matched = tokio::task::spawn_blocking(move || lines.into_iter().map(|line| shown(line, &candidates)).collect::<Vec<_>>()).await;
    let staged = matched.map_err(|_| StoreError::from(sqlx::Error::WorkerCrashed))?;
    Ok(Statement { summary, staged, next_line, already_imported: false })
}

fn shown(stored: StoredLine, candidates: &[Candidate]) -> StatementLine {
    let found = rules::matched(&stored.read, candidates);
    let read = stored.read;
    StatementLine {
        line: stored.line,
        booked_on: read.booked_on,
        amount: read.amount,
        direction: read.direction,
        currency: read.currency,
        payer_name: read.payer_name,
        remittance: read.remittance,
        external_payment_id: stored.external_payment_id,
        applied_at: stored.applied_at,
        payment_id: stored.payment_id,
        r#match: found,
    }
}

/// Everything of a statement, matched with what is open now: a file has at most [`rules::LINES_MAX`] lines. `told` hears how many
/// are done, of how many.
pub async fn open_whole(pool: &Pool, first: Statement, told: &mut (dyn FnMut(usize, i64) + Send)) -> Result<Statement, StatementError> {
    let mut whole = first;
    while let Some(after) = whole.next_line {
        told(whole.staged.len(), whole.summary.lines);
        let next = page(pool, whole.summary.clone(), after).await?;
        whole.staged.extend(next.staged);
        whole.next_line = next.next_line;
    }
    Ok(whole)
}

/// Applies one line: confirms its transfer for the invoice that it fits now, by the one function that confirms. Applied again,
/// nothing happens.
pub async fn apply(
    pool: &Pool,
    wish: LineWish,
    by: Hand<'_>,
    terms: Terms<'_>,
    now: Timestamp,
) -> Result<(LineOutcome, Option<Confirmed>), StatementError> {
    let done = db::retried(|| async move {
        let LineWish { statement, line, least, run } = wish;
        let mut tx = db::begin(pool).await?;
        let stored = store::lock_line(&mut tx, statement, line).await?.ok_or(StatementError::NoLine)?;
        if stored.applied_at.is_some() {
            return Ok((LineOutcome::AlreadyApplied, None));
        }
        let found = rules::matched(&stored.read, &store::list_candidates(&mut *tx).await?);
        rules::sure_enough(&found, least).map_err(StatementError::Unmatched)?;
        let (Some(account), Some(number)) = (found.account_id, found.invoice_number) else {
            return Err(StatementError::Unmatched(found.why));
        };
        let transfer = transfer(&stored, Payee::Invoice(number.clone()), run);
        let confirmed = confirmation::confirm_in(&mut tx, &transfer, by, terms, now).await?;
        if confirmed.data["invoice"]["number"].as_str() != Some(number.as_str()) {
            return Err(StatementError::InvoiceClosed);
        }
        let payment = payments::store::find_transfer(&mut *tx, &stored.external_payment_id).await?.ok_or(StatementError::InvoiceClosed)?;
        if store::mark_applied(&mut tx, (statement, line), (account, payment.payment.id), now).await? != 1 {
            return Err(StatementError::NoLine);
        }
        end(tx, run).await?;
        Ok::<_, StatementError>((LineOutcome::Applied, Some(confirmed)))
    })
    .await?;
    if let (Run::Real, (_, Some(confirmed))) = (wish.run, &done) {
        confirmation::count(confirmed);
    }
    Ok(done)
}

fn transfer(stored: &StoredLine, payee: Payee, run: Run) -> Transfer {
    let read = &stored.read;
    let payer_name = if read.payer_name.is_empty() { "unknown".to_owned() } else { read.payer_name.clone() };
    Transfer {
        payee,
        external_payment_id: stored.external_payment_id.clone(),
        amount: read.amount,
        currency: Some(read.currency.clone()),
        payer_name,
        plan_slug: None,
        paid_on: Some(read.booked_on),
        note: Some(read.remittance.clone()).filter(|note| !note.is_empty()),
        other_amount: OtherAmount::Refused,
        run,
    }
}
