//! SQL of holds.

use super::model::{Hold, HoldStatus, Shelf};
use crate::{
    clock::Timestamp,
    credits::model::{Metadata, Operation, Pools, Quantity},
    db::{Pool, StoreError},
    ids::AccountId,
    money::Credits,
};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use std::collections::HashMap;

/// A hold as its row has it.
struct Row {
    account: AccountId,
    id: i64,
    status: HoldStatus,
    amount: Credits,
    operation: Operation,
    quantity: i64,
    unit_cost: Credits,
    description: String,
    metadata: Value,
    reference: Option<String>,
    actor: String,
    created_at: Timestamp,
    expires_at: Timestamp,
    settled_at: Option<Timestamp>,
    captured_quantity: Option<i64>,
    transaction_id: Option<i64>,
}

impl Row {
    fn into_hold(self) -> Result<(AccountId, Hold), StoreError> {
        let quantity = Quantity::new(self.quantity).ok_or_else(|| sqlx::Error::Decode("a hold's quantity".into()))?;
        let metadata = match self.metadata {
            Value::Object(members) => Metadata(members),
            _ => return Err(sqlx::Error::Decode("a hold's metadata".into()).into()),
        };
        let hold = Hold {
            id: self.id,
            status: self.status,
            amount: self.amount,
            operation: self.operation,
            quantity,
            unit_cost: self.unit_cost,
            description: self.description,
            metadata,
            reference: self.reference,
            actor: self.actor,
            created_at: self.created_at,
            expires_at: self.expires_at,
            settled_at: self.settled_at,
            captured_quantity: self.captured_quantity,
            transaction_id: self.transaction_id,
        };
        Ok((self.account, hold))
    }
}

/// What is known of these accounts' holds, with those that are named, each by account and number. Exact only while their balances
/// are locked.
pub async fn list_shelves(
    connection: &mut PgConnection,
    accounts: &[i64],
    named: &[(AccountId, i64)],
) -> Result<HashMap<AccountId, Shelf>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select wanted.account_id as "account!: AccountId",
               coalesce((select max(h.hold_seq) from credit_holds h where h.account_id = wanted.account_id), 0) as "last_seq!",
               (select count(*) from credit_holds h where h.account_id = wanted.account_id and h.status = 'open') as "open!"
        from unnest($1::bigint[]) as wanted (account_id)
        "#,
        accounts
    )
    .fetch_all(&mut *connection)
    .await?;
    let shelf = |last_seq, open| Shelf { last_seq, open, named: HashMap::new() };
    let mut shelves = rows.into_iter().map(|row| (row.account, shelf(row.last_seq, row.open))).collect::<HashMap<_, _>>();
    if named.is_empty() {
        return Ok(shelves);
    }
    let (accounts, seqs): (Vec<i64>, Vec<i64>) = named.iter().map(|(account, seq)| (account.0, *seq)).unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"
        select h.account_id as "account: AccountId", h.hold_seq as id, h.status as "status: HoldStatus", h.amount as "amount: Credits",
               h.operation as "operation: Operation", h.quantity, h.unit_cost as "unit_cost: Credits", h.description, h.metadata, h.reference, h.actor,
               h.created_at, h.expires_at, h.settled_at, h.captured_quantity, h.captured_seq as transaction_id
        from unnest($1::bigint[], $2::bigint[]) as wanted (account_id, hold_seq)
        join credit_holds h on h.account_id = wanted.account_id and h.hold_seq = wanted.hold_seq
        "#,
        &accounts,
        &seqs
    )
    .fetch_all(connection)
    .await?;
    for row in rows {
        let (account, hold) = row.into_hold()?;
        shelves.entry(account).or_default().named.insert(hold.id, hold);
    }
    Ok(shelves)
}

/// Writes new holds, each with its account. Their balances must be locked.
#[allow(clippy::as_conversions, reason = "sqlx's own way to name the type of an array with nulls")]
pub async fn insert_holds(connection: &mut PgConnection, holds: &[(AccountId, &Hold)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        insert into credit_holds (account_id, hold_seq, status, amount, operation, quantity, unit_cost, description, metadata, reference, actor,
                                  created_at, expires_at)
        select account_id, hold_seq, 'open', amount, operation, quantity, unit_cost, description, metadata, reference, actor, created_at, expires_at
        from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::jsonb[], $9::text[], $10::text[],
                    $11::timestamptz[], $12::timestamptz[])
            as t (account_id, hold_seq, amount, operation, quantity, unit_cost, description, metadata, reference, actor, created_at, expires_at)
        "#,
        &holds.iter().map(|(account, _)| account.0).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.id).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.amount.get()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.operation.as_str().to_owned()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.quantity.get()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.unit_cost.get()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.description.clone()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.metadata.value()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.reference.clone()).collect::<Vec<_>>() as &[Option<String>],
        &holds.iter().map(|(_, hold)| hold.actor.clone()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.created_at).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.expires_at).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what became of open holds, each with its account; an error where one is not open. Their balances must be locked, and the
/// entries that pay for them be written.
#[allow(clippy::as_conversions, reason = "sqlx's own way to name the type of an array with nulls")]
pub async fn mark_settled(connection: &mut PgConnection, holds: &[(AccountId, &Hold)]) -> Result<(), StoreError> {
    let done = sqlx::query!(
        r#"
        update credit_holds h
        set status = t.status, settled_at = t.settled_at, captured_quantity = t.captured_quantity, captured_seq = t.captured_seq
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[])
            as t (account_id, hold_seq, status, settled_at, captured_quantity, captured_seq)
        where h.account_id = t.account_id and h.hold_seq = t.hold_seq and h.status = 'open'
        "#,
        &holds.iter().map(|(account, _)| account.0).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.id).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.status.as_str().to_owned()).collect::<Vec<_>>(),
        &holds.iter().map(|(_, hold)| hold.settled_at).collect::<Vec<_>>() as &[Option<Timestamp>],
        &holds.iter().map(|(_, hold)| hold.captured_quantity).collect::<Vec<_>>() as &[Option<i64>],
        &holds.iter().map(|(_, hold)| hold.transaction_id).collect::<Vec<_>>() as &[Option<i64>]
    )
    .execute(connection)
    .await?;
    let is_whole = usize::try_from(done.rows_affected()).is_ok_and(|settled| settled == holds.len());
    if is_whole { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// Counts anew what is held of these accounts, and gives it. Their balances must be locked.
///
/// Of those that are `keyed` a key was kept besides: where that leaves the row as it is, its authority counts on, so that a debit with
/// this key that was decided before and waits for the lock is decided anew.
pub async fn recount(connection: &mut PgConnection, accounts: &[i64], keyed: &[i64]) -> Result<HashMap<AccountId, Credits>, StoreError> {
    let rows = sqlx::query!(
        r#"
        update credit_balances b set held = counted.held, next_hold_expiry_at = counted.next_expiry_at,
                                     authority = b.authority + (b.held = counted.held and b.account_id = any($2))::int
        from (
            select wanted.account_id, coalesce(sum(h.amount), 0)::bigint as held, min(h.expires_at) as next_expiry_at
            from unnest($1::bigint[]) as wanted (account_id)
            left join credit_holds h on h.account_id = wanted.account_id and h.status = 'open'
            group by wanted.account_id
        ) counted
        where b.account_id = counted.account_id
        returning b.account_id as "account: AccountId", b.held as "held: Credits"
        "#,
        accounts,
        keyed
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account, row.held)).collect())
}

/// Writes down which of an account's holds are over at `now`, each at its own instant. Its balance must be locked.
pub async fn mark_expired(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update credit_holds set status = 'expired', settled_at = expires_at where account_id = $1 and status = 'open' and expires_at <= $2",
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Displaces the newest open holds, until both pools cover the others. The balance must be locked and be `pools`.
pub async fn mark_displaced(connection: &mut PgConnection, account: AccountId, pools: Pools, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update credit_holds h set status = 'displaced', settled_at = $3
        from (
            select hold_seq, sum(amount) over (order by hold_seq) as held_up_to from credit_holds where account_id = $1 and status = 'open'
        ) open
        where h.account_id = $1 and h.hold_seq = open.hold_seq and open.held_up_to > $2::bigint
        "#,
        account.0,
        pools.total().get(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Accounts with a hold that is over at `now` and not written down, by number, after one of them.
pub async fn list_due(pool: &Pool, after: AccountId, limit: i64, now: Timestamp) -> Result<Vec<AccountId>, StoreError> {
    let accounts = sqlx::query_scalar!(
        r#"
        select distinct account_id as "account: AccountId" from credit_holds
        where status = 'open' and expires_at <= $1 and account_id > $2
        order by account_id limit $3
        "#,
        now,
        after.0,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(accounts)
}

/// A hold of an account, as its row has it.
pub async fn find_hold(executor: impl PgExecutor<'_>, account: AccountId, id: i64) -> Result<Option<Hold>, StoreError> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select account_id as "account: AccountId", hold_seq as id, status as "status: HoldStatus", amount as "amount: Credits",
               operation as "operation: Operation", quantity, unit_cost as "unit_cost: Credits", description, metadata, reference, actor,
               created_at, expires_at, settled_at, captured_quantity, captured_seq as transaction_id
        from credit_holds where account_id = $1 and hold_seq = $2
        "#,
        account.0,
        id
    )
    .fetch_optional(executor)
    .await?;
    row.map(|row| row.into_hold().map(|(_, hold)| hold)).transpose()
}

/// Holds older than a number, newest first; only those of which this has become by `now`, where a status is asked for.
pub async fn list_older(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    status: Option<HoldStatus>,
    (older_than, limit): (Option<i64>, i64),
    now: Timestamp,
) -> Result<Vec<Hold>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select account_id as "account: AccountId", hold_seq as id, status as "status: HoldStatus", amount as "amount: Credits",
               operation as "operation: Operation", quantity, unit_cost as "unit_cost: Credits", description, metadata, reference, actor,
               created_at, expires_at, settled_at, captured_quantity, captured_seq as transaction_id
        from credit_holds
        where account_id = $1 and hold_seq < $2
          and ($3::text is null or case when status = 'open' and expires_at <= $4 then 'expired' else status end = $3)
        order by hold_seq desc limit $5
        "#,
        account.0,
        older_than.unwrap_or(i64::MAX),
        status.map(HoldStatus::as_str),
        now,
        limit
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(|row| row.into_hold().map(|(_, hold)| hold)).collect()
}

/// Holds newer than a number, oldest first; otherwise as [`list_older`].
pub async fn list_newer(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    status: Option<HoldStatus>,
    (newer_than, limit): (i64, i64),
    now: Timestamp,
) -> Result<Vec<Hold>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        select account_id as "account: AccountId", hold_seq as id, status as "status: HoldStatus", amount as "amount: Credits",
               operation as "operation: Operation", quantity, unit_cost as "unit_cost: Credits", description, metadata, reference, actor,
               created_at, expires_at, settled_at, captured_quantity, captured_seq as transaction_id
        from credit_holds
        where account_id = $1 and hold_seq > $2
          and ($3::text is null or case when status = 'open' and expires_at <= $4 then 'expired' else status end = $3)
        order by hold_seq limit $5
        "#,
        account.0,
        newer_than,
        status.map(HoldStatus::as_str),
        now,
        limit
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(|row| row.into_hold().map(|(_, hold)| hold)).collect()
}

/// How many holds the filter lets through.
pub async fn count_holds(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    status: Option<HoldStatus>,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from credit_holds
        where account_id = $1 and ($2::text is null or case when status = 'open' and expires_at <= $3 then 'expired' else status end = $2)
        "#,
        account.0,
        status.map(HoldStatus::as_str),
        now
    )
    .fetch_one(executor)
    .await?;
    Ok(count)
}
