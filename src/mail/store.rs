//! SQL of the outbox.

use super::model::{Claimed, Delivery, Mail, MailKind};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
};
use sqlx::PgConnection;

/// Adds a mail, unless one of the same cause is there.
pub async fn insert_mail(
    connection: &mut PgConnection,
    mail: &Mail<'_>,
    sealed_bodies: &[u8],
    delivery: Delivery,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        insert into mail_outbox (kind, dedupe_key, recipient, subject, sealed_bodies, created_at, next_attempt_at, is_withheld)
        values ($1, $2, $3, $4, $5, $6, $6, $7)
        on conflict (dedupe_key) do nothing
        "#,
        mail.kind.as_str(),
        mail.dedupe_key,
        mail.recipient,
        mail.letter.subject,
        sealed_bodies,
        now,
        delivery == Delivery::Withhold,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Claims what is due, oldest first, until `lease_ends_at`; what another worker is claiming is passed over.
pub async fn claim_due(pool: &Pool, lease_ends_at: Timestamp, limit: i64, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    let rows = sqlx::query!(
        r#"
        update mail_outbox set attempts = attempts + 1, next_attempt_at = $1
        where mail_id in (
            select mail_id from mail_outbox
            where sent_at is null and failed_at is null and withheld_at is null and next_attempt_at <= $3
            order by next_attempt_at, mail_id
            limit $2
            for update skip locked)
        returning mail_id, kind as "kind: MailKind", dedupe_key, recipient, subject, sealed_bodies, attempts, is_withheld
        "#,
        lease_ends_at,
        limit,
        now,
    )
    .fetch_all(pool)
    .await?;
    let due = rows.into_iter().map(|row| Claimed {
        id: row.mail_id,
        kind: row.kind,
        dedupe_key: row.dedupe_key,
        recipient: row.recipient,
        subject: row.subject,
        sealed_bodies: row.sealed_bodies,
        attempts: row.attempts,
        delivery: if row.is_withheld { Delivery::Withhold } else { Delivery::Send },
    });
    // An update gives its rows in any order; who is told two things is to hear the first one first.
    let mut due = due.collect::<Vec<_>>();
    due.sort_by_key(|mail| mail.id);
    Ok(due)
}

/// Notes that a mail is gone, and forgets what it said.
pub async fn mark_sent(pool: &Pool, mail: i64, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update mail_outbox set sent_at = $2, sealed_bodies = '', last_error = null where mail_id = $1 and failed_at is null",
        mail,
        now
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes that a mail was passed over, and forgets what it said.
pub async fn mark_withheld(pool: &Pool, mail: i64, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!("update mail_outbox set withheld_at = $2, sealed_bodies = '' where mail_id = $1 and is_withheld", mail, now)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes that a mail was not taken, and when it is tried again.
pub async fn mark_postponed(pool: &Pool, mail: i64, error: &str, next_attempt_at: Timestamp) -> Result<(), StoreError> {
    sqlx::query!("update mail_outbox set last_error = $2, next_attempt_at = $3 where mail_id = $1", mail, error, next_attempt_at)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes that a mail is given up, and forgets what it said.
pub async fn mark_given_up(pool: &Pool, mail: i64, error: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update mail_outbox set failed_at = $3, last_error = $2, sealed_bodies = '' where mail_id = $1 and sent_at is null",
        mail,
        error,
        now
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Deletes mails that are over and older than that; at most `limit`. Gives how many.
pub async fn delete_old(pool: &Pool, written_before: Timestamp, limit: i64) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from mail_outbox
        where mail_id in (
            select mail_id from mail_outbox
            where created_at < $1 and num_nonnulls(sent_at, failed_at, withheld_at) = 1
            order by created_at
            limit $2)
        "#,
        written_before,
        limit,
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
