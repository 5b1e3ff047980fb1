//! SQL of batches.

use super::rules::{Decision, Ground, Line, Wanted};
use crate::{
    clock::Timestamp,
    credits::{
        model::{Operation, Pools, Transaction as Entry},
        pricing::model::Prices,
        store::LockedBalance,
    },
    db::StoreError,
    ids::AccountId,
    money::Credits,
};
use chrono::TimeDelta;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};

/// The columns of a batch: its accounts, and its entries, each sorted by account. All processes lock in this order.
#[derive(Debug, Default)]
pub struct Columns {
    accounts: Vec<i64>,
    old_seqs: Vec<i64>,
    old_plans: Vec<i64>,
    old_extras: Vec<i64>,
    old_helds: Vec<i64>,
    authorities: Vec<i64>,
    plans: Vec<i64>,
    extras: Vec<i64>,
    new_seqs: Vec<i64>,
    entry_accounts: Vec<i64>,
    seqs: Vec<i64>,
    plan_amounts: Vec<i64>,
    extra_amounts: Vec<i64>,
    plan_afters: Vec<i64>,
    extra_afters: Vec<i64>,
    operations: Vec<String>,
    quantities: Vec<i64>,
    unit_costs: Vec<i64>,
    descriptions: Vec<String>,
    metadatas: Vec<Value>,
    references: Vec<Option<String>>,
    actors: Vec<String>,
    keys: Vec<Option<String>>,
    hashes: Vec<Option<Vec<u8>>>,
    times: Vec<Timestamp>,
    /// Of prices and plans that all of it rests on.
    rules_version: i64,
}

impl Columns {
    /// The entries that a decided batch writes, and what each account was decided from.
    pub fn of(batch: &[&Wanted], decisions: &[Option<Decision>], prices: &Prices, grounds: &HashMap<AccountId, Ground>) -> Self {
        let lines = batch.iter().zip(decisions).filter_map(|(wanted, decision)| Some((*wanted, decision.as_ref()?.line(wanted, prices)?)));
        let mut entries = lines.collect::<Vec<_>>();
        // Stable: within an account the order of arrival stays.
        entries.sort_by_key(|(wanted, _)| wanted.account);
        let mut columns = Columns { rules_version: prices.version, ..Columns::default() };
        for (wanted, Line { spend, unit_cost, moved, key }) in entries {
            let account = wanted.account.0;
            if columns.accounts.last() != Some(&account) {
                columns.accounts.push(account);
                let Ground { pools: before, authority } = grounds.get(&wanted.account).copied().unwrap_or(Ground::NONE);
                columns.old_seqs.push(before.last_seq);
                columns.old_plans.push(before.plan.get());
                columns.old_extras.push(before.extra.get());
                columns.old_helds.push(before.held.get());
                columns.authorities.push(authority);
                columns.plans.push(0);
                columns.extras.push(0);
                columns.new_seqs.push(0);
            }
            set_last(&mut columns.plans, moved.after.plan.get());
            set_last(&mut columns.extras, moved.after.extra.get());
            set_last(&mut columns.new_seqs, moved.after.last_seq);
            columns.entry_accounts.push(account);
            columns.seqs.push(moved.after.last_seq);
            columns.plan_amounts.push(moved.plan.get());
            columns.extra_amounts.push(moved.extra.get());
            columns.plan_afters.push(moved.after.plan.get());
            columns.extra_afters.push(moved.after.extra.get());
            columns.operations.push(spend.operation.as_str().to_owned());
            columns.quantities.push(spend.quantity.get());
            columns.unit_costs.push(unit_cost);
            columns.descriptions.push(spend.description());
            columns.metadatas.push(spend.metadata.value());
            columns.references.push(spend.reference.clone());
            columns.actors.push(spend.actor.clone());
            columns.keys.push(key.map(|keyed| keyed.key.clone()));
            columns.hashes.push(key.map(|keyed| keyed.input_hash.to_vec()));
            columns.times.push(wanted.now);
        }
        columns
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }
}

fn set_last(column: &mut [i64], value: i64) {
    if let Some(last) = column.last_mut() {
        *last = value;
    }
}

/// Whether an entry stands in the ledger exactly as it was to be written.
pub async fn is_written(connection: &mut PgConnection, account: AccountId, entry: &Entry, actor: &str) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        select true as "found!" from credit_transactions
        where account_id = $1 and seq = $2 and amount = $3 and operation = $4 and quantity = $5 and description = $6 and metadata = $7
          and reference is not distinct from $8 and actor = $9 and created_at = $10 and idempotency_key is null
        "#,
        account.0,
        entry.id,
        entry.amount.get(),
        entry.operation.map(Operation::as_str),
        entry.quantity,
        entry.description,
        entry.metadata,
        entry.reference,
        actor,
        entry.created_at
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

/// Writes the entries of every account whose row is still as the batch was decided from, its authority included, and whose keys are
/// new; gives those accounts. Of all others nothing is touched, and of none when a plan or a price is another one by now. One
/// statement, one commit.
#[allow(clippy::as_conversions, reason = "sqlx's own way to name the type of an array with nulls")]
pub async fn append_where_unchanged(
    connection: &mut PgConnection,
    columns: &Columns,
    now: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let accounts = sqlx::query_scalar!(
        r#"
        with entry as (
            select * from unnest($11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[],
                                 $20::text[], $21::jsonb[], $22::text[], $23::text[], $24::text[], $25::bytea[], $26::timestamptz[])
                as t (account_id, seq, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                      description, metadata, reference, actor, idempotency_key, input_hash, created_at)
        ), known as materialized (
            select entry.account_id from entry
            join credit_transactions c on c.account_id = entry.account_id and c.idempotency_key = entry.idempotency_key
            where entry.idempotency_key is not null
            union all
            select entry.account_id from entry
            join idempotency_keys k on k.account_id = entry.account_id and k.idempotency_key = entry.idempotency_key
            where entry.idempotency_key is not null
        ), balance as (
            update credit_balances b set plan_credits = wanted.plan, extra_credits = wanted.extra, last_seq = wanted.new_seq
            from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])
                as wanted (account_id, old_seq, old_plan, old_extra, old_held, authority, plan, extra, new_seq)
            where b.account_id = wanted.account_id and b.last_seq = wanted.old_seq and b.plan_credits = wanted.old_plan and b.extra_credits = wanted.old_extra
              and b.held = wanted.old_held and b.authority = wanted.authority
              and (b.next_expiry_at is null or b.next_expiry_at > $10) and (b.next_hold_expiry_at is null or b.next_hold_expiry_at > $10)
              and not exists (select from known where known.account_id = wanted.account_id)
              and (select version from spending_rules where only_row) = $27
            returning b.account_id
        ), written as (
            insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                                             description, metadata, reference, actor, idempotency_key, input_hash, created_at)
            select entry.account_id, seq, 'deduction', plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                   description, metadata, reference, actor, idempotency_key, input_hash, created_at
            from entry join balance on balance.account_id = entry.account_id
        )
        select account_id as "account_id!: AccountId" from balance
        "#,
        &columns.accounts,
        &columns.old_seqs,
        &columns.old_plans,
        &columns.old_extras,
        &columns.old_helds,
        &columns.authorities,
        &columns.plans,
        &columns.extras,
        &columns.new_seqs,
        now,
        &columns.entry_accounts,
        &columns.seqs,
        &columns.plan_amounts,
        &columns.extra_amounts,
        &columns.plan_afters,
        &columns.extra_afters,
        &columns.operations,
        &columns.quantities,
        &columns.unit_costs,
        &columns.descriptions,
        &columns.metadatas,
        &columns.references as &[Option<String>],
        &columns.actors,
        &columns.keys as &[Option<String>],
        &columns.hashes as &[Option<Vec<u8>>],
        &columns.times,
        columns.rules_version
    )
    .fetch_all(connection)
    .await?;
    Ok(accounts)
}

/// An account as it is under the batch's lock.
#[derive(Debug, Clone, Copy)]
pub struct LockedAccount {
    /// Its balance, as the row has it: lots and holds that are over must be ended before anything is spent.
    pub balance: LockedBalance,
    /// The version of its authority, which stays as long as the lock does.
    pub authority: i64,
}

/// Locks the balances of several accounts, in the order of their numbers.
pub async fn lock_balances(connection: &mut PgConnection, accounts: &[i64]) -> Result<HashMap<AccountId, LockedAccount>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select account_id as "account: AccountId", plan_credits as "plan: Credits", extra_credits as "extra: Credits", held as "held: Credits",
               last_seq, next_expiry_at, next_hold_expiry_at, authority
        from credit_balances where account_id = any($1)
        order by account_id
        for update
        "#,
        accounts
    )
    .fetch_all(connection)
    .await?;
    let locked = rows.into_iter().map(|row| {
        let balance = LockedBalance {
            pools: Pools { plan: row.plan, extra: row.extra, held: row.held, last_seq: row.last_seq },
            next_expiry_at: row.next_expiry_at,
            next_hold_expiry_at: row.next_hold_expiry_at,
        };
        (row.account, LockedAccount { balance, authority: row.authority })
    });
    Ok(locked.collect())
}

/// Which of these accounts may spend at `now`. Exact only while their balances are locked: whoever changes what is asked here
/// changes their authority too.
///
/// Said here as `accounts::rules::standing` and `gate::rules::admit` say it in Rust; a test holds them together.
pub async fn list_admitted(
    connection: &mut PgConnection,
    accounts: &[i64],
    grace: TimeDelta,
    now: Timestamp,
) -> Result<HashSet<AccountId>, StoreError> {
    let admitted = sqlx::query_scalar!(
        r#"
        select a.account_id as "account: AccountId"
        from accounts a
        left join subscriptions s on s.account_id = a.account_id
        join plans p on p.plan_id = case when s.next_plan_at <= $2 then s.next_plan_id else a.plan_id end
        where a.account_id = any($1) and a.deleted_at is null and a.status in ('trial', 'active', 'pending_payment') and p.is_active
          and (a.is_system or s.account_id is null or s.current_period_end > $2
               or (s.status in ('active', 'past_due') and not s.cancel_at_period_end and s.current_period_end > $3))
        "#,
        accounts,
        now,
        now - grace
    )
    .fetch_all(connection)
    .await?;
    Ok(admitted.into_iter().collect())
}
