//! SQL of the events.

use super::model::{Event, EventFilter, NewEvent};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::{AccountId, EventId, SiteId},
    sites::{model::Sight, store::narrowing},
};
use sqlx::{PgConnection, PgExecutor};

/// A report as the columns of a query.
struct Columns {
    types: Vec<String>,
    ids: Vec<String>,
    payloads: Vec<serde_json::Value>,
}

impl Columns {
    fn of(events: &[NewEvent]) -> Self {
        Columns {
            types: events.iter().map(|event| event.event_type.0.clone()).collect(),
            ids: events.iter().map(|event| event.external_id.0.clone()).collect(),
            payloads: events.iter().map(|event| event.payload.value()).collect(),
        }
    }
}

/// Adds what is new of a report, in the order in which it was sent. Returns how many. The site is locked.
pub async fn insert_events(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    events: &[NewEvent],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let columns = Columns::of(events);
    let done = sqlx::query!(
        r#"
        insert into site_events (account_id, site_id, event_type, external_id, payload, created_at)
        select $1, $2, sent.event_type, sent.external_id, sent.payload, $6
        from unnest($3::text[], $4::text[], $5::jsonb[]) with ordinality as sent (event_type, external_id, payload, place)
        order by sent.place
        on conflict on constraint site_events_once_key do nothing
        "#,
        account.0,
        site.0,
        &columns.types,
        &columns.ids,
        &columns.payloads,
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// An event as it is kept, and whether that is how it was sent now.
pub struct Kept {
    /// As it is kept.
    pub event: Event,
    /// Whether the payload is the same.
    pub is_same: bool,
}

/// What is kept of a report, in the order in which it was sent.
pub async fn list_reported(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    events: &[NewEvent],
) -> Result<Vec<Kept>, StoreError> {
    let columns = Columns::of(events);
    let rows = sqlx::query!(
        r#"
        select e.event_id as "id: EventId", e.site_id as "site: SiteId", e.event_type, e.external_id, e.payload, e.created_at,
               e.payload = sent.payload as "is_same!"
        from unnest($3::text[], $4::text[], $5::jsonb[]) with ordinality as sent (event_type, external_id, payload, place)
        join site_events e on e.account_id = $1 and e.site_id = $2 and e.event_type = sent.event_type and e.external_id = sent.external_id
        order by sent.place
        "#,
        account.0,
        site.0,
        &columns.types,
        &columns.ids,
        &columns.payloads,
    )
    .fetch_all(connection)
    .await?;
    let kept = rows.into_iter().map(|row| Kept {
        event: Event {
            id: row.id,
            site: row.site,
            event_type: row.event_type,
            external_id: row.external_id,
            payload: row.payload,
            created_at: row.created_at,
        },
        is_same: row.is_same,
    });
    Ok(kept.collect())
}

/// The events that somebody sees, of living sites; a macro, because a checked query must be a literal. `$1` is the account,
/// `$2` and `$3` are the [`narrowing`], `$4` to `$6` the filter.
macro_rules! seen_events {
    ($rest:tt, $account:expr, $sight:expr, $filter:expr $(, $argument:expr)*) => {{
        let ((only, granted_to), filter) = (narrowing($sight), $filter);
        sqlx::query_as!(
            Event,
            r#"
            select event_id as "id: EventId", site_id as "site: SiteId", event_type, external_id, payload, created_at
            from site_events e
            where account_id = $1 and ($2::bigint is null or site_id = $2)
              and exists (select 1 from sites s where s.account_id = e.account_id and s.site_id = e.site_id and s.deleted_at is null)
              and ($3::bigint is null or exists (
                    select 1 from site_access a where a.account_id = e.account_id and a.site_id = e.site_id and a.user_id = $3))
              and ($4::text is null or event_type = $4)
              and ($5::timestamptz is null or created_at >= $5) and ($6::timestamptz is null or created_at < $6)
            "# + $rest,
            $account.0,
            only,
            granted_to,
            filter.event_type.as_deref(),
            filter.from,
            filter.to
            $(, $argument)*
        )
    }};
}

/// Events older than a number, newest first.
pub async fn list_older(
    pool: &Pool,
    account: AccountId,
    (sight, filter): (Sight, &EventFilter),
    older_than: Option<i64>,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let end = older_than.unwrap_or(i64::MAX);
    Ok(seen_events!("and event_id < $7 order by event_id desc limit $8", account, sight, filter, end, limit).fetch_all(pool).await?)
}

/// Events newer than a number, oldest first: walking back.
pub async fn list_newer(
    pool: &Pool,
    account: AccountId,
    (sight, filter): (Sight, &EventFilter),
    newer_than: i64,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    Ok(seen_events!("and event_id > $7 order by event_id limit $8", account, sight, filter, newer_than, limit).fetch_all(pool).await?)
}

/// How many events somebody sees.
pub async fn count_events(pool: &Pool, account: AccountId, (sight, filter): (Sight, &EventFilter)) -> Result<i64, StoreError> {
    let (only, granted_to) = narrowing(sight);
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from site_events e
        where account_id = $1 and ($2::bigint is null or site_id = $2)
          and exists (select 1 from sites s where s.account_id = e.account_id and s.site_id = e.site_id and s.deleted_at is null)
          and ($3::bigint is null or exists (
                select 1 from site_access a where a.account_id = e.account_id and a.site_id = e.site_id and a.user_id = $3))
          and ($4::text is null or event_type = $4)
          and ($5::timestamptz is null or created_at >= $5) and ($6::timestamptz is null or created_at < $6)
        "#,
        account.0,
        only,
        granted_to,
        filter.event_type.as_deref(),
        filter.from,
        filter.to,
    );
    Ok(count.fetch_one(pool).await?)
}

/// Deletes events reported before an instant, oldest first, at most `limit` of them. Of all accounts: the scheduler's.
/// Leaves alone what another scheduler is deleting. Returns how many.
pub async fn delete_old(executor: impl PgExecutor<'_>, limit: i64, reported_before: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        delete from site_events
        where (account_id, event_id) in (
            select account_id, event_id from site_events
            where created_at < $1
            order by created_at
            limit $2
            for update skip locked)
        "#,
        reported_before,
        limit,
    );
    Ok(done.execute(executor).await?.rows_affected())
}
