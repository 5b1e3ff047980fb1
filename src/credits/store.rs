//! SQL of balances, ledger and prices.

use super::{
    history::rules::DISORDER_MAX,
    model::{Operation, Pools, Transaction, TransactionKind},
    rules::Move,
};
use crate::{clock::Timestamp, db::StoreError, ids::AccountId, money::Credits};
use serde_json::Value;
use sqlx::{PgConnection, PgExecutor};
use std::collections::HashMap;

/// An entry before it is written.
pub struct NewEntry<'a> {
    /// Whose ledger.
    pub account: AccountId,
    /// Why.
    pub kind: TransactionKind,
    /// How the pools move.
    pub moved: Move,
    /// Operation, quantity and cost of a unit, of a deduction.
    pub work: Option<(Operation, i64, i64)>,
    /// For people.
    pub description: String,
    /// The client's own data.
    pub metadata: Value,
    /// The client's own word for it.
    pub reference: Option<String>,
    /// The period whose grant or expiry this is.
    pub period_seq: Option<i32>,
    /// Who.
    pub actor: &'a str,
    /// Key and input hash, where the client gave a key.
    pub key: Option<&'a crate::idempotency::model::Keyed>,
}

/// Opens an account's balance at nothing.
pub async fn insert_balance(connection: &mut PgConnection, account: AccountId) -> Result<(), StoreError> {
    sqlx::query!("insert into credit_balances (account_id, plan_credits, extra_credits, last_seq) values ($1, 0, 0, 0)", account.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// A balance under its lock.
#[derive(Clone, Copy, Debug)]
pub struct LockedBalance {
    /// As the row has it: lots and holds that are over may still be in it.
    pub pools: Pools,
    /// When the first lot of extra credits ends.
    pub next_expiry_at: Option<Timestamp>,
    /// When the first open hold ends.
    pub next_hold_expiry_at: Option<Timestamp>,
}

/// Locks the balance row, before anything is read: two spends at once must not see the same balance. Only
/// `lots::service::lock_in` asks this, for it also ends the lots and holds that are over.
pub async fn lock_balance(connection: &mut PgConnection, account: AccountId) -> Result<Option<LockedBalance>, StoreError> {
    let row = sqlx::query!(
        r#"
        select plan_credits as "plan: Credits", extra_credits as "extra: Credits", held as "held: Credits", last_seq, next_expiry_at, next_hold_expiry_at
        from credit_balances where account_id = $1 for update
        "#,
        account.0
    )
    .fetch_optional(connection)
    .await?;
    let locked = row.map(|row| LockedBalance {
        pools: Pools { plan: row.plan, extra: row.extra, held: row.held, last_seq: row.last_seq },
        next_expiry_at: row.next_expiry_at,
        next_hold_expiry_at: row.next_hold_expiry_at,
    });
    Ok(locked)
}

/// Moves the balance and writes the entry that explains it, in one statement. The balance must be locked.
pub async fn append_entry(connection: &mut PgConnection, entry: NewEntry<'_>, now: Timestamp) -> Result<Transaction, StoreError> {
    let after = entry.moved.after;
    let (operation, quantity, unit_cost) =
        entry.work.map_or((None, None, None), |(operation, quantity, cost)| (Some(operation), Some(quantity), Some(cost)));
    let transaction = sqlx::query_as!(
        Transaction,
        r#"
        with balance as (
            update credit_balances set plan_credits = $4, extra_credits = $5, last_seq = $6::bigint
            where account_id = $1 and last_seq = $6::bigint - 1
            returning account_id
        )
        insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                                         description, metadata, reference, period_seq, actor, idempotency_key, input_hash, created_at)
        select account_id, $6::bigint, $7, $2, $3, $4, $5, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18 from balance
        returning seq as id, kind as "kind: TransactionKind", amount as "amount!: Credits", balance_after as "balance_after!: Credits",
                  operation as "operation: Operation", quantity, description, metadata, reference, created_at
        "#,
        entry.account.0,
        entry.moved.plan.get(),
        entry.moved.extra.get(),
        after.plan.get(),
        after.extra.get(),
        after.last_seq,
        entry.kind.as_str(),
        operation.map(Operation::as_str),
        quantity,
        unit_cost,
        entry.description,
        entry.metadata,
        entry.reference,
        entry.period_seq,
        entry.actor,
        entry.key.map(|keyed| keyed.key.as_str()),
        entry.key.map(|keyed| keyed.input_hash.as_slice()),
        now,
    )
    .fetch_one(connection)
    .await?;
    Ok(transaction)
}

/// What a period's grant did to the ledger, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Granted {
    /// The grant.
    pub amount: Credits,
    /// What of the period before expired for it.
    pub expired: Credits,
    /// What was spent of it, refunds taken off, until the next grant or now.
    pub spent: Credits,
    /// Whether another grant has followed.
    pub is_over: bool,
}

/// A period's grant; none for a plan without credits.
pub async fn find_granted(connection: &mut PgConnection, account: AccountId, period_seq: i32) -> Result<Option<Granted>, StoreError> {
    let granted = sqlx::query_as!(
        Granted,
        r#"
        with granted as (
            select seq, plan_amount from credit_transactions where account_id = $1 and period_seq = $2 and kind = 'subscription'
        ), next as (
            select min(t.seq) as seq from credit_transactions t, granted g
            where t.account_id = $1 and t.seq > g.seq and (t.kind = 'subscription' or (t.kind = 'expiry' and t.plan_amount < 0))
        )
        select g.plan_amount as "amount!: Credits",
               coalesce((select -sum(t.plan_amount) from credit_transactions t
                         where t.account_id = $1 and t.period_seq = $2 and t.kind = 'expiry' and t.seq < g.seq), 0)::bigint as "expired!: Credits",
               greatest(coalesce((select -sum(t.plan_amount) from credit_transactions t
                         where t.account_id = $1 and t.seq > g.seq and t.seq < coalesce(n.seq, 9223372036854775807)
                           and t.kind in ('deduction', 'refund')), 0), 0)::bigint as "spent!: Credits",
               n.seq is not null as "is_over!"
        from granted g cross join next n
        "#,
        account.0,
        period_seq
    );
    Ok(granted.fetch_optional(connection).await?)
}

/// Which entries a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<TransactionKind>,
    /// Only of this operation.
    pub operation: Option<Operation>,
    /// Made at or after.
    pub from: Option<Timestamp>,
    /// Made before.
    pub to: Option<Timestamp>,
}

impl Filter {
    /// Before this instant none was made that is to be shown, whatever its place in the sequence.
    fn earliest(&self) -> Option<Timestamp> {
        self.from.map(|from| from - DISORDER_MAX)
    }

    /// After this one neither.
    fn latest(&self) -> Option<Timestamp> {
        self.to.map(|to| to + DISORDER_MAX)
    }
}

/// Entries older than a number, newest first.
pub async fn list_older(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    filter: &Filter,
    older_than: Option<i64>,
    limit: i64,
) -> Result<Vec<Transaction>, StoreError> {
    let rows = sqlx::query_as!(
        Transaction,
        r#"
        select seq as id, kind as "kind: TransactionKind", amount as "amount!: Credits", balance_after as "balance_after!: Credits",
               operation as "operation: Operation", quantity, description, metadata, reference, created_at
        from credit_transactions
        where account_id = $1 and seq < $2 and ($3::text is null or kind = $3) and ($4::text is null or operation = $4)
          and ($5::timestamptz is null or created_at >= $5) and ($6::timestamptz is null or created_at < $6)
          and seq > coalesce(credit_seq_by($1, $8), 0) and seq <= coalesce(credit_seq_by($1, $9), 9223372036854775807)
        order by seq desc limit $7
        "#,
        account.0,
        older_than.unwrap_or(i64::MAX),
        filter.kind.map(TransactionKind::as_str),
        filter.operation.map(Operation::as_str),
        filter.from,
        filter.to,
        limit,
        filter.earliest(),
        filter.latest()
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// Entries newer than a number, oldest first.
pub async fn list_newer(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    filter: &Filter,
    newer_than: i64,
    limit: i64,
) -> Result<Vec<Transaction>, StoreError> {
    let rows = sqlx::query_as!(
        Transaction,
        r#"
        select seq as id, kind as "kind: TransactionKind", amount as "amount!: Credits", balance_after as "balance_after!: Credits",
               operation as "operation: Operation", quantity, description, metadata, reference, created_at
        from credit_transactions
        where account_id = $1 and seq > $2 and ($3::text is null or kind = $3) and ($4::text is null or operation = $4)
          and ($5::timestamptz is null or created_at >= $5) and ($6::timestamptz is null or created_at < $6)
          and seq > coalesce(credit_seq_by($1, $8), 0) and seq <= coalesce(credit_seq_by($1, $9), 9223372036854775807)
        order by seq limit $7
        "#,
        account.0,
        newer_than,
        filter.kind.map(TransactionKind::as_str),
        filter.operation.map(Operation::as_str),
        filter.from,
        filter.to,
        limit,
        filter.earliest(),
        filter.latest()
    )
    .fetch_all(executor)
    .await?;
    Ok(rows)
}

/// How many entries the filter lets through.
pub async fn count_entries(executor: impl PgExecutor<'_>, account: AccountId, filter: &Filter) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from credit_transactions
        where account_id = $1 and ($2::text is null or kind = $2) and ($3::text is null or operation = $3)
          and ($4::timestamptz is null or created_at >= $4) and ($5::timestamptz is null or created_at < $5)
          and seq > coalesce(credit_seq_by($1, $6), 0) and seq <= coalesce(credit_seq_by($1, $7), 9223372036854775807)
        "#,
        account.0,
        filter.kind.map(TransactionKind::as_str),
        filter.operation.map(Operation::as_str),
        filter.from,
        filter.to,
        filter.earliest(),
        filter.latest()
    )
    .fetch_one(executor)
    .await?;
    Ok(count)
}

/// Lets every spend that was decided before this transaction ends be decided anew, under the account's lock. Locks its balance.
pub async fn renew_authority(connection: &mut PgConnection, account: AccountId) -> Result<(), StoreError> {
    sqlx::query!("update credit_balances set authority = authority + 1 where account_id = $1", account.0).execute(connection).await?;
    Ok(())
}

/// Whether a spend came with the key before.
pub async fn is_key_used(connection: &mut PgConnection, account: AccountId, key: &str) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        r#"select true as "found!" from credit_transactions where account_id = $1 and idempotency_key = $2"#,
        account.0,
        key
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

/// An entry that a key made before, with the hash of its input.
#[derive(Debug, Clone)]
pub struct KnownKey {
    /// The entry.
    pub transaction: Transaction,
    /// SHA-256 of the first input.
    pub input_hash: Vec<u8>,
}

/// What the ledger knows of these keys, each with its account.
pub async fn find_keys(
    connection: &mut PgConnection,
    accounts: &[i64],
    keys: &[String],
) -> Result<HashMap<(AccountId, String), KnownKey>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select c.account_id as "account: AccountId", c.idempotency_key as "key!", c.seq, c.kind as "kind: TransactionKind", c.amount as "amount!: Credits",
               c.balance_after as "balance_after!: Credits", c.operation as "operation: Operation", c.quantity, c.description, c.metadata, c.reference,
               c.input_hash as "input_hash!", c.created_at
        from unnest($1::bigint[], $2::text[]) as wanted (account_id, key)
        join credit_transactions c on c.account_id = wanted.account_id and c.idempotency_key = wanted.key
        "#,
        accounts,
        keys
    )
    .fetch_all(connection)
    .await?;
    let known = rows.into_iter().map(|row| {
        let transaction = Transaction {
            id: row.seq,
            kind: row.kind,
            amount: row.amount,
            balance_after: row.balance_after,
            operation: row.operation,
            quantity: row.quantity,
            description: row.description,
            metadata: row.metadata,
            reference: row.reference,
            created_at: row.created_at,
        };
        ((row.account, row.key), KnownKey { transaction, input_hash: row.input_hash })
    });
    Ok(known.collect())
}
