//! SQL of the log.

use super::model::{Entry, LogFilter, LogRow, Origin};
use crate::{
    db::StoreError,
    ids::{AccountId, AuditId},
};
use sqlx::{PgConnection, PgExecutor};

/// Adds a row.
pub async fn append_entry(connection: &mut PgConnection, origin: &Origin, entry: &Entry) -> Result<AuditId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into audit_log (account_id, actor, action, target, before, after, reason, request_id, client_address, at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        returning audit_id as "audit_id: AuditId"
        "#,
        entry.account.map(|account| account.0),
        origin.actor,
        entry.action,
        entry.target,
        entry.before,
        entry.after,
        entry.reason,
        origin.request_id,
        origin.client_address,
        entry.at,
    )
    .fetch_one(connection)
    .await?;
    Ok(id)
}

/// Selects rows of the log; `$1` account, `$2` actor, `$3` action, `$4` from, `$5` to.
macro_rules! rows {
    ($rest:tt, $filter:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            LogRow,
            r#"
            select audit_id as "id: AuditId", at, actor, action, target, account_id as "account_id: AccountId", before, after, reason, request_id,
                   client_address
            from audit_log
            where ($1::bigint is null or account_id = $1) and ($2::text is null or actor = $2) and ($3::text is null or action = $3)
              and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5) "# + $rest,
            $filter.account.map(|account| account.0),
            $filter.actor,
            $filter.action,
            $filter.from,
            $filter.to
            $(, $argument)*
        )
    };
}

/// Rows older than a number, newest first.
pub async fn list_older(
    executor: impl PgExecutor<'_>,
    filter: &LogFilter,
    older_than: Option<i64>,
    limit: i64,
) -> Result<Vec<LogRow>, StoreError> {
    let rows = rows!("and audit_id < $6 order by audit_id desc limit $7", filter, older_than.unwrap_or(i64::MAX), limit);
    Ok(rows.fetch_all(executor).await?)
}

/// Rows newer than a number, oldest first.
pub async fn list_newer(executor: impl PgExecutor<'_>, filter: &LogFilter, newer_than: i64, limit: i64) -> Result<Vec<LogRow>, StoreError> {
    let rows = rows!("and audit_id > $6 order by audit_id limit $7", filter, newer_than, limit);
    Ok(rows.fetch_all(executor).await?)
}

/// How many rows the filter lets through.
pub async fn count_rows(executor: impl PgExecutor<'_>, filter: &LogFilter) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from audit_log
        where ($1::bigint is null or account_id = $1) and ($2::text is null or actor = $2) and ($3::text is null or action = $3)
          and ($4::timestamptz is null or at >= $4) and ($5::timestamptz is null or at < $5)
        "#,
        filter.account.map(|account| account.0),
        filter.actor,
        filter.action,
        filter.from,
        filter.to
    );
    Ok(count.fetch_one(executor).await?)
}
