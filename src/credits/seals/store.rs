//! SQL of seals.

use super::model::{HashedEntry, Seal, Unsealed};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    ids::AccountId,
};
use sqlx::{PgConnection, PgExecutor};

/// The next `limit` accounts after one of them, by number. A seal is due for those that have so many entries without one, or one that
/// was made before an instant. All are given, whether it is due or not: however few of them it is due for, one look costs the same.
pub async fn list_unsealed(
    pool: &Pool,
    after: AccountId,
    entries_min: i64,
    made_before: Timestamp,
    limit: i64,
) -> Result<Vec<Unsealed>, StoreError> {
    let rows = sqlx::query_as!(
        Unsealed,
        r#"
        select b.account_id as "account: AccountId", coalesce(s.up_to_seq, 0) as "after_seq!", s.hash as "hash?",
               b.last_seq > coalesce(s.up_to_seq, 0)
               and (b.last_seq - coalesce(s.up_to_seq, 0) >= $2
                    or exists (select from credit_transactions t
                               where t.account_id = b.account_id and t.seq = coalesce(s.up_to_seq, 0) + 1 and t.created_at < $3)) as "is_due!"
        from (select account_id, last_seq from credit_balances where account_id > $1 order by account_id limit $4) b
        left join lateral (
            select up_to_seq, hash from credit_seals where account_id = b.account_id order by after_seq desc limit 1
        ) s on true
        order by b.account_id
        "#,
        after.0,
        entries_min,
        made_before,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(rows)
}

/// The entries of several stretches, in order, each with the hash of all that it says.
///
/// What is hashed is the JSON array of these columns as Postgres writes it, the instant in whole microseconds. Columns that
/// come later are no part of it, so that old seals stay good.
pub async fn list_hashed(executor: impl PgExecutor<'_>, stretches: &[(AccountId, i64, i64)]) -> Result<Vec<HashedEntry>, StoreError> {
    let accounts = stretches.iter().map(|(account, _, _)| account.0).collect::<Vec<_>>();
    let afters = stretches.iter().map(|(_, after, _)| *after).collect::<Vec<_>>();
    let up_tos = stretches.iter().map(|(_, _, up_to)| *up_to).collect::<Vec<_>>();
    let rows = sqlx::query_as!(
        HashedEntry,
        r#"
        select t.account_id as "account: AccountId", t.seq,
               sha256(convert_to(jsonb_build_array(
                   t.account_id, t.seq, t.kind, t.plan_amount, t.extra_amount, t.plan_after, t.extra_after, t.operation, t.quantity, t.unit_cost,
                   t.description, t.metadata, t.reference, t.period_seq, t.actor, t.idempotency_key, encode(t.input_hash, 'hex'),
                   (extract(epoch from t.created_at) * 1000000)::bigint)::text, 'UTF8')) as "hash!"
        from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as stretch (account_id, after_seq, up_to_seq)
        join credit_transactions t on t.account_id = stretch.account_id and t.seq > stretch.after_seq and t.seq <= stretch.up_to_seq
        order by t.account_id, t.seq
        "#,
        &accounts,
        &afters,
        &up_tos
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// Keeps a seal, unless another instance was first.
pub async fn insert_seal(pool: &Pool, seal: &Seal, now: Timestamp) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        r#"
        insert into credit_seals (account_id, after_seq, up_to_seq, marks, hash, sealed_at) values ($1, $2, $3, $4, $5, $6)
        on conflict (account_id, after_seq) do nothing
        "#,
        seal.account.0,
        seal.after_seq,
        seal.up_to_seq,
        seal.marks,
        seal.hash,
        now
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Seals after one of them, by account and entry.
pub async fn list_seals(
    connection: &mut PgConnection,
    (account, after_seq): (AccountId, i64),
    limit: i64,
) -> Result<Vec<Seal>, StoreError> {
    let rows = sqlx::query_as!(
        Seal,
        r#"
        select account_id as "account: AccountId", after_seq, up_to_seq, marks, hash
        from credit_seals where (account_id, after_seq) > ($1, $2)
        order by account_id, after_seq limit $3
        "#,
        account.0,
        after_seq,
        limit
    )
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

/// How many entries are sealed.
pub async fn count_sealed(connection: &mut PgConnection) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(r#"select coalesce(sum(up_to_seq - after_seq), 0)::bigint as "count!" from credit_seals"#);
    Ok(count.fetch_one(connection).await?)
}
