//! Makes the seals that are due, and looks whether those that are kept still fit.

use super::{
    model::{HashedEntry, Seal, Unsealed},
    rules::{self, ENTRIES_MAX},
    store,
};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::AccountId,
};
use chrono::TimeDelta;
use sqlx::PgConnection;

/// An account with so many entries without a seal is sealed at once …
const ENTRIES_MIN: i64 = 100;
/// … and one with fewer when the oldest of them is so old: a seal for each entry would be as long as the ledger.
const SEALED_AFTER: TimeDelta = TimeDelta::hours(1);
/// Accounts looked at at once.
const ACCOUNTS_AT_ONCE: i64 = 2_000;
/// Seals made in one round at the most; what is left is sealed in the next.
const SEALS_PER_ROUND_MAX: usize = 5_000;
/// Seals read at once.
const SEALS_AT_ONCE: i64 = 1_000;
/// Entries read at once.
const ENTRIES_AT_ONCE: i64 = 5_000;

/// Seals what is due, in order. Entries are never changed, so that no lock is needed: of two instances one keeps its seal.
/// Gives how many were made.
pub async fn seal_due(pool: &Pool, now: Timestamp) -> Result<usize, StoreError> {
    let (mut made, mut after) = (0, AccountId(0));
    while made < SEALS_PER_ROUND_MAX {
        let unsealed = store::list_unsealed(pool, after, ENTRIES_MIN, now - SEALED_AFTER, ACCOUNTS_AT_ONCE).await?;
        let Some(last) = unsealed.last() else { break };
        after = last.account;
        for account in unsealed.into_iter().filter(|account| account.is_due) {
            made += seal_account(pool, account, now).await?;
        }
    }
    Ok(made)
}

async fn seal_account(pool: &Pool, mut unsealed: Unsealed, now: Timestamp) -> Result<usize, StoreError> {
    let step = i64::try_from(ENTRIES_MAX).unwrap_or(i64::MAX);
    for made in 0..SEALS_PER_ROUND_MAX {
        let stretch = (unsealed.account, unsealed.after_seq, unsealed.after_seq + step);
        let entries = store::list_hashed(pool, &[stretch]).await?;
        let Some(seal) = rules::seal(unsealed.account, unsealed.hash.as_deref().unwrap_or_default(), &entries) else { return Ok(made) };
        // Another instance was first, and goes on; or a row is missing, which `verify` tells.
        let is_whole = seal.after_seq == unsealed.after_seq && i64::try_from(entries.len()) == Ok(seal.up_to_seq - seal.after_seq);
        if !is_whole || !store::insert_seal(pool, &seal, now).await? {
            return Ok(made);
        }
        if entries.len() < ENTRIES_MAX {
            return Ok(made + 1);
        }
        unsealed = Unsealed { after_seq: seal.up_to_seq, hash: Some(seal.hash), ..unsealed };
    }
    Ok(SEALS_PER_ROUND_MAX)
}

/// Makes every seal again and tells what does not fit: the account, and which entry was altered. At most `limit` of them, in
/// memory bounded by one thousand seals and five thousand entries; `progress` hears of every step how many entries it was.
pub async fn list_breaches(
    connection: &mut PgConnection,
    limit: usize,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Vec<(AccountId, String)>, StoreError> {
    let (mut found, mut before): (Vec<(AccountId, String)>, Option<Seal>) = (Vec::new(), None);
    while found.len() < limit {
        let place = before.as_ref().map_or((AccountId(0), -1), |seal| (seal.account, seal.after_seq));
        let seals = store::list_seals(connection, place, SEALS_AT_ONCE).await?;
        if seals.is_empty() {
            break;
        }
        for group in groups(&seals) {
            let stretches = group.iter().map(|seal| (seal.account, seal.after_seq, seal.up_to_seq)).collect::<Vec<_>>();
            let entries = store::list_hashed(&mut *connection, &stretches).await?;
            for seal in group {
                let previous = before.as_ref().filter(|before| before.account == seal.account);
                let told = rules::breaches(previous, seal, of(seal, &entries));
                found.extend(told.into_iter().map(|sentence| (seal.account, sentence)));
                before = Some(seal.clone());
            }
            progress(u64::try_from(entries.len()).unwrap_or(0));
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// Seals in groups that are read at once: together of no more entries than the limit, but for a single one.
fn groups(seals: &[Seal]) -> Vec<&[Seal]> {
    let (mut groups, mut rest) = (Vec::new(), seals);
    while !rest.is_empty() {
        let mut entries = 0;
        let fitting = rest.iter().take_while(|seal| {
            entries += seal.up_to_seq - seal.after_seq;
            entries <= ENTRIES_AT_ONCE
        });
        let (group, others) = rest.split_at(fitting.count().clamp(1, rest.len()));
        groups.push(group);
        rest = others;
    }
    groups
}

/// A seal's own entries, of those that were read for several.
fn of<'a>(seal: &Seal, entries: &'a [HashedEntry]) -> &'a [HashedEntry] {
    let start = entries.partition_point(|entry| (entry.account, entry.seq) <= (seal.account, seal.after_seq));
    let end = entries.partition_point(|entry| (entry.account, entry.seq) <= (seal.account, seal.up_to_seq));
    entries.get(start..end).unwrap_or_default()
}
