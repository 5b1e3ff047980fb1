//! SQL of renewals.

use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::AccountId,
};

/// Accounts after one of them, by number, whose paid period ends in time and which owe nothing: a look ahead, judged again
/// under each account's lock.
pub async fn list_ending(
    pool: &Pool,
    after: AccountId,
    (ends_after, ends_up_to): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<AccountId>, StoreError> {
    let accounts = sqlx::query_scalar!(
        r#"
        select a.account_id as "account_id: AccountId"
        from subscriptions s join accounts a on a.account_id = s.account_id
        where s.status in ('active', 'past_due') and not s.cancel_at_period_end and s.current_period_end > $2 and s.current_period_end <= $3
          and a.account_id > $1 and a.status in ('active', 'pending_payment') and not a.is_system and a.deleted_at is null
          and not exists (select from invoices i where i.account_id = a.account_id and i.status = 'open')
        order by a.account_id limit $4
        "#,
        after.0,
        ends_after,
        ends_up_to,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(accounts)
}
