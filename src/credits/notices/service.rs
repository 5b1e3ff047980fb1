//! Notes levels, and writes the mails that tell of them.

use super::{
    model::{Changed, Level},
    rules::{LOW_PERCENT, is_worth_telling},
    store,
};
use crate::{
    auth::members,
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::AccountId,
    mail::{
        letters,
        model::{Delivery, Mail, MailKind},
        service::Outbox,
    },
};

/// Accounts looked up at once.
const BATCH: i64 = 500;

/// Looks which accounts' credits have become low or enough since the last look, and tells owners of what got worse: once,
/// however many instances look. Gives how many accounts were told.
pub async fn notify(pool: &Pool, outbox: Outbox<'_>, now: Timestamp) -> Result<usize, StoreError> {
    let (mut told, mut after) = (0, AccountId(0));
    loop {
        let changed = store::list_changed(pool, after, LOW_PERCENT, BATCH, now).await?;
        let Some(last) = changed.last() else { return Ok(told) };
        after = last.account;
        for account in &changed {
            told += usize::from(note(pool, outbox, account, now).await?);
        }
    }
}

/// Notes one account's level and writes its owners' mails in one transaction.
async fn note(pool: &Pool, outbox: Outbox<'_>, changed: &Changed, now: Timestamp) -> Result<bool, StoreError> {
    let mut tx = db::begin(pool).await?;
    let is_ours = store::mark_level(&mut tx, changed, now).await?;
    let kind = match changed.now {
        Level::Low => Some(MailKind::CreditsLow),
        Level::UsedUp => Some(MailKind::CreditsUsedUp),
        Level::Enough => None,
    };
    let Some(kind) = kind.filter(|_| is_ours && is_worth_telling(changed.before, changed.now)) else {
        tx.commit().await?;
        return Ok(false);
    };
    for (user, email) in members::store::list_owner_emails(&mut tx, changed.account).await? {
        let letter = letters::credits_low(outbox.app_url, &changed.name, changed.credits.get(), changed.credits_per_month.get());
        let dedupe_key = format!("{kind}:{}:{user}:{}", changed.account, now.timestamp_micros());
        outbox.enqueue_in(&mut tx, &Mail { kind, dedupe_key, recipient: &email, letter }, Delivery::Send, now).await?;
    }
    tx.commit().await?;
    Ok(true)
}
