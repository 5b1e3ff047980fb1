//! SQL of orders that wait.

use super::model::{Approval, ApprovalKind, ApprovalStatus};
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, ApprovalId, UserId},
};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};

/// Selects orders as they stand at `$1`: what is past its time is over, whether or not anybody has recorded it.
macro_rules! approvals {
    ($rest:tt, $now:expr $(, $argument:expr)*) => {
        sqlx::query_as!(
            Approval,
            r#"
            select v.approval_id as "id: ApprovalId", v.account_id as "account_id: AccountId", a.slug as account_slug, v.kind as "kind: ApprovalKind",
                   v.summary, v.work, v.reason,
                   case when v.status = 'pending' and v.expires_at <= $1 then 'expired' else v.status end as "status!: ApprovalStatus",
                   v.asked_by as "asked_by: UserId", v.asked_at, v.expires_at, v.decided_by as "decided_by: UserId", v.decided_at, v.decision_reason,
                   v.result
            from approvals v join accounts a on a.account_id = v.account_id "# + $rest,
            $now
            $(, $argument)*
        )
    };
}

/// An order before it is written.
pub struct NewApproval<'a> {
    /// What is ordered.
    pub kind: ApprovalKind,
    /// All that carrying it out takes.
    pub work: &'a Value,
    /// What it would do.
    pub summary: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Who asks.
    pub asked_by: UserId,
    /// Until when it can be approved.
    pub expires_at: Timestamp,
}

/// Writes an order that waits.
pub async fn insert_approval(
    connection: &mut PgConnection,
    account: AccountId,
    new: &NewApproval<'_>,
    now: Timestamp,
) -> Result<ApprovalId, StoreError> {
    let id = sqlx::query_scalar!(
        r#"
        insert into approvals (account_id, kind, work, summary, reason, status, asked_by, asked_at, expires_at)
        values ($1, $2, $3, $4, $5, 'pending', $6, $7, $8)
        returning approval_id as "id: ApprovalId"
        "#,
        account.0,
        new.kind.as_str(),
        new.work,
        new.summary,
        new.reason,
        new.asked_by.0,
        now,
        new.expires_at
    );
    Ok(id.fetch_one(connection).await?)
}

/// One order, for platform staff.
pub async fn find_approval(executor: impl PgExecutor<'_>, id: ApprovalId, now: Timestamp) -> Result<Option<Approval>, StoreError> {
    Ok(approvals!("where v.approval_id = $2", now, id.0).fetch_optional(executor).await?)
}

/// Locks an order, before the account that it concerns: of those who judge it at once, one does.
pub async fn lock_approval(connection: &mut PgConnection, id: ApprovalId, now: Timestamp) -> Result<Option<Approval>, StoreError> {
    Ok(approvals!("where v.approval_id = $2 for update of v", now, id.0).fetch_optional(connection).await?)
}

/// Orders older than a number, newest first; all, or those that stand so now.
pub async fn list_older(
    executor: impl PgExecutor<'_>,
    status: Option<ApprovalStatus>,
    older_than: Option<i64>,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Approval>, StoreError> {
    let rows = approvals!(
        r#"
        where ($2::text is null or case when v.status = 'pending' and v.expires_at <= $1 then 'expired' else v.status end = $2)
          and v.approval_id < $3 order by v.approval_id desc limit $4
        "#,
        now,
        status.map(ApprovalStatus::as_str),
        older_than.unwrap_or(i64::MAX),
        limit
    );
    Ok(rows.fetch_all(executor).await?)
}

/// Orders newer than a number, oldest first; all, or those that stand so now.
pub async fn list_newer(
    executor: impl PgExecutor<'_>,
    status: Option<ApprovalStatus>,
    newer_than: i64,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Approval>, StoreError> {
    let rows = approvals!(
        r#"
        where ($2::text is null or case when v.status = 'pending' and v.expires_at <= $1 then 'expired' else v.status end = $2)
          and v.approval_id > $3 order by v.approval_id limit $4
        "#,
        now,
        status.map(ApprovalStatus::as_str),
        newer_than,
        limit
    );
    Ok(rows.fetch_all(executor).await?)
}

/// Approves an order that waits, with what it answered. Exactly one row, or it was judged meanwhile.
pub async fn mark_approved(
    connection: &mut PgConnection,
    account: AccountId,
    id: ApprovalId,
    (by, result): (UserId, &Value),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update approvals set status = 'approved', decided_by = $3, decided_at = $4, result = $5
        where account_id = $1 and approval_id = $2 and status = 'pending'
        "#,
        account.0,
        id.0,
        by.0,
        now,
        result
    );
    Ok(done.execute(connection).await?.rows_affected())
}

/// Rejects an order that waits. Exactly one row, or it was judged meanwhile.
pub async fn mark_rejected(
    connection: &mut PgConnection,
    account: AccountId,
    id: ApprovalId,
    (by, reason): (UserId, &str),
    now: Timestamp,
) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update approvals set status = 'rejected', decided_by = $3, decided_at = $4, decision_reason = $5
        where account_id = $1 and approval_id = $2 and status = 'pending'
        "#,
        account.0,
        id.0,
        by.0,
        now,
        reason
    );
    Ok(done.execute(connection).await?.rows_affected())
}
