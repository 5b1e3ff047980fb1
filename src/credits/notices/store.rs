//! SQL of notices.

use super::model::{Changed, Level};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::AccountId,
    money::Credits,
};
use sqlx::PgConnection;

/// Accounts after one of them, by number, whose level is another than noted. Only those that may act: others can't spend.
pub async fn list_changed(pool: &Pool, after: AccountId, low_percent: i64, limit: i64, now: Timestamp) -> Result<Vec<Changed>, StoreError> {
    let rows = sqlx::query_as!(
        Changed,
        r#"
        select account_id as "account: AccountId", name, credits as "credits!: Credits", credits_per_month as "credits_per_month!: Credits",
               before as "before!: Level", level as "now!: Level"
        from (
            select s.*, case when credits = 0 then 'used_up' when credits * 100 < credits_per_month * $2 then 'low' else 'enough' end as level
            from (
                select b.account_id, a.name, p.effective_credits as credits_per_month, coalesce(n.level, 'enough') as before,
                       b.plan_credits + case when b.next_expiry_at <= $4 then credit_extra_at(b.account_id, b.extra_credits, $4)
                                             else b.extra_credits end as credits
                from credit_balances b
                join accounts a on a.account_id = b.account_id
                join plans p on p.plan_id = a.plan_id
                left join credit_notices n on n.account_id = b.account_id
                where b.account_id > $1 and a.deleted_at is null and not a.is_system and a.status in ('trial', 'active', 'pending_payment')
                  and p.effective_credits > 0
            ) s
        ) t
        where level <> before
        order by account_id
        limit $3
        "#,
        after.0,
        low_percent,
        limit,
        now
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// Notes a level in the place of another. False where it was changed by somebody else meanwhile, who then tells of it.
pub async fn mark_level(connection: &mut PgConnection, changed: &Changed, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        insert into credit_notices (account_id, level, changed_at) values ($1, $3, $4)
        on conflict (account_id) do update set level = $3, changed_at = $4 where credit_notices.level = $2
        "#,
        changed.account.0,
        changed.before.as_str(),
        changed.now.as_str(),
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}
