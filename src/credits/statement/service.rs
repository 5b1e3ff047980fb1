//! Streams a statement.

use super::rules::{HEADING, write_line};
use crate::{
    credits::store::{Filter, list_older},
    db::{Pool, StoreError},
    ids::AccountId,
};
use futures_util::{Stream, stream};

/// Entries that are in memory at once, per statement: at most 9 MB where each is as long as it may be, usually 0.2 MB.
pub const ENTRIES_AT_ONCE: i64 = 1_000;

enum Next {
    Heading,
    Older { than: Option<i64> },
}

/// The statement in pieces, newest entry first. Each piece is read when the client has taken the one before, by a query of
/// its own: a slow client holds no connection and no transaction. That changes nothing, for entries are only ever added.
pub fn pieces(pool: Pool, account: AccountId, filter: Filter) -> impl Stream<Item = Result<String, StoreError>> + Send + 'static {
    stream::try_unfold(Some(Next::Heading), move |next| {
        let (pool, filter) = (pool.clone(), filter.clone());
        async move {
            let than = match next {
                None => return Ok(None),
                Some(Next::Heading) => return Ok(Some((HEADING.to_owned(), Some(Next::Older { than: None })))),
                Some(Next::Older { than }) => than,
            };
            let entries = list_older(&pool, account, &filter, than, ENTRIES_AT_ONCE).await?;
            let is_last = i64::try_from(entries.len()).is_ok_and(|length| length < ENTRIES_AT_ONCE);
            let next = entries.last().filter(|_| !is_last).map(|oldest| Next::Older { than: Some(oldest.id) });
            let mut text = String::new();
            entries.iter().for_each(|entry| write_line(&mut text, entry));
            Ok(Some((text, next)))
        }
    })
}
