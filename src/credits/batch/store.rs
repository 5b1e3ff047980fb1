//! SQL of batches.

use super::rules::{Decision, Line, Wanted, Witness};
use crate::{
    auth::model::Role,
    clock::Timestamp,
    credits::{
        model::{Operation, Pools, Transaction as Entry},
        pricing::model::Prices,
        store::LockedBalance,
    },
    db::StoreError,
    ids::{AccountId, SessionId},
    money::Credits,
};
use chrono::TimeDelta;
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The columns of a batch: its accounts, and its entries, each sorted by account. All processes lock in this order.
#[derive(Debug, Default)]
pub struct Columns {
    accounts: Vec<i64>,
    old_seqs: Vec<i64>,
    old_plans: Vec<i64>,
    old_extras: Vec<i64>,
    old_helds: Vec<i64>,
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
    priced_operations: Vec<String>,
    costs: Vec<i64>,
    next_costs: Vec<Option<i64>>,
    next_froms: Vec<Option<Timestamp>>,
    witness_accounts: Vec<i64>,
    witness_sessions: Vec<Uuid>,
    witness_users: Vec<i64>,
    witness_factors: Vec<i32>,
}

impl Columns {
    /// The entries that a decided batch writes.
    pub fn of(batch: &[&Wanted], decisions: &[Option<Decision>], prices: &Prices, before: &HashMap<AccountId, Pools>) -> Self {
        let lines = batch.iter().zip(decisions).filter_map(|(wanted, decision)| Some((*wanted, decision.as_ref()?.line(wanted, prices)?)));
        let mut entries = lines.collect::<Vec<_>>();
        // Stable: within an account the order of arrival stays.
        entries.sort_by_key(|(wanted, _)| wanted.account);
        let mut columns = Columns::default();
        for (wanted, Line { spend, unit_cost, moved, key }) in entries {
            let account = wanted.account.0;
            if columns.accounts.last() != Some(&account) {
                columns.accounts.push(account);
                let before = before.get(&wanted.account).copied().unwrap_or(Pools::EMPTY);
                columns.old_seqs.push(before.last_seq);
                columns.old_plans.push(before.plan.get());
                columns.old_extras.push(before.extra.get());
                columns.old_helds.push(before.held.get());
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
        for (operation, price) in &prices.0 {
            columns.priced_operations.push(operation.as_str().to_owned());
            columns.costs.push(price.cost);
            columns.next_costs.push(price.next.map(|(_, cost)| cost));
            columns.next_froms.push(price.next.map(|(from, _)| from));
        }
        // Also those whose own spend is refused: that is told to nobody but who may spend.
        let mut witnesses = batch.iter().zip(decisions).filter(|(_, decision)| decision.is_some());
        let mut asked = witnesses.by_ref().filter_map(|(wanted, _)| Some((wanted.account, wanted.witness?))).collect::<Vec<_>>();
        asked.sort_unstable();
        asked.dedup();
        for (account, Witness { session, user, throttle_factor }) in asked {
            columns.witness_accounts.push(account.0);
            columns.witness_sessions.push(session.0);
            columns.witness_users.push(user.0);
            columns.witness_factors.push(throttle_factor);
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

/// The roles that may spend, by name.
fn spenders() -> Vec<String> {
    Role::ALL.iter().filter(|role| role.includes(Role::Editor)).map(|role| role.as_str().to_owned()).collect()
}

/// Writes the entries of every account whose row is still as the batch was decided from, which may spend, whose
/// witnesses all live and whose keys are new; gives those accounts. Of all others nothing is touched, and of none when a
/// price is another one by now. One statement, one commit.
///
/// Which accounts may spend is said here as `accounts::rules::standing` and `gate::rules::admit` say it in Rust; a test
/// holds them together.
#[allow(clippy::as_conversions, reason = "sqlx's own way to name the type of an array with nulls")]
pub async fn append_where_unchanged(
    connection: &mut PgConnection,
    columns: &Columns,
    grace: TimeDelta,
    now: Timestamp,
) -> Result<Vec<AccountId>, StoreError> {
    let accounts = sqlx::query_scalar!(
        r#"
        with wanted as (
            select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $24::bigint[], $25::bigint[], $35::bigint[])
                as t (account_id, old_seq, plan, extra, new_seq, old_plan, old_extra, old_held)
        ), entry as (
            select * from unnest($6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::bigint[],
                                 $15::text[], $16::jsonb[], $17::text[], $18::text[], $19::text[], $20::bytea[], $21::timestamptz[])
                as t (account_id, seq, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost,
                      description, metadata, reference, actor, idempotency_key, input_hash, created_at)
        ), known as materialized (
            select distinct entry.account_id from entry
            join credit_transactions c on c.account_id = entry.account_id and c.idempotency_key = entry.idempotency_key
            where entry.idempotency_key is not null
            union all
            select entry.account_id from entry
            join idempotency_keys k on k.account_id = entry.account_id and k.idempotency_key = entry.idempotency_key
        ), edited as materialized (
            select c.operation from credit_costs c
            where not exists (select from unnest($31::text[], $32::bigint[], $33::bigint[], $34::timestamptz[]) as known (operation, cost, next_cost, next_from)
                              where known.operation = c.operation and known.cost = c.cost and known.next_cost is not distinct from c.next_cost
                                and known.next_from is not distinct from c.next_from)
        ), stranger as materialized (
            select witness.account_id from unnest($26::bigint[], $27::uuid[], $28::bigint[], $30::int[]) as witness (account_id, session_id, user_id, factor)
            left join sessions on sessions.session_id = witness.session_id and sessions.user_id = witness.user_id
                               and sessions.revoked_at is null and sessions.expires_at > $22
            left join users u on u.user_id = sessions.user_id and u.account_id = witness.account_id
                              and u.is_active and u.deleted_at is null and u.role = any($29)
            left join accounts a on a.account_id = u.account_id
            left join plans p on p.plan_id = a.plan_id
            where coalesce(case when a.throttle_factor_until is null or a.throttle_factor_until > $22 then a.throttle_factor end, p.throttle_factor)
                  is distinct from witness.factor
        ), balance as (
            update credit_balances b set plan_credits = wanted.plan, extra_credits = wanted.extra, last_seq = wanted.new_seq
            from wanted
            join accounts a on a.account_id = wanted.account_id
            join plans p on p.plan_id = a.plan_id
            left join subscriptions s on s.account_id = wanted.account_id
            where b.account_id = wanted.account_id and b.last_seq = wanted.old_seq and b.plan_credits = wanted.old_plan and b.extra_credits = wanted.old_extra
              and b.held = wanted.old_held
              and (b.next_expiry_at is null or b.next_expiry_at > $22) and (b.next_hold_expiry_at is null or b.next_hold_expiry_at > $22)
              and a.deleted_at is null and a.status in ('trial', 'active', 'pending_payment') and p.is_active
              and (a.is_system or s.account_id is null or s.current_period_end > $22
                   or (s.status in ('active', 'past_due') and not s.cancel_at_period_end and s.current_period_end > $23))
              and not exists (select from known where known.account_id = wanted.account_id)
              and not exists (select from edited)
              and not exists (select from stranger where stranger.account_id = wanted.account_id)
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
        &columns.plans,
        &columns.extras,
        &columns.new_seqs,
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
        now,
        now - grace,
        &columns.old_plans,
        &columns.old_extras,
        &columns.witness_accounts,
        &columns.witness_sessions,
        &columns.witness_users,
        &spenders(),
        &columns.witness_factors,
        &columns.priced_operations,
        &columns.costs,
        &columns.next_costs as &[Option<i64>],
        &columns.next_froms as &[Option<Timestamp>],
        &columns.old_helds
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
    /// Whether it may spend now.
    pub may_spend: bool,
}

/// Locks the balances of several accounts, in the order of their numbers, and says which of them may spend now.
pub async fn lock_balances(
    connection: &mut PgConnection,
    accounts: &[i64],
    grace: TimeDelta,
    now: Timestamp,
) -> Result<HashMap<AccountId, LockedAccount>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select b.account_id as "account: AccountId", b.plan_credits as "plan: Credits", b.extra_credits as "extra: Credits",
               b.held as "held: Credits", b.last_seq, b.next_expiry_at, b.next_hold_expiry_at,
               a.deleted_at is null and a.status in ('trial', 'active', 'pending_payment') and p.is_active
               and (a.is_system or s.account_id is null or s.current_period_end > $2
                    or (s.status in ('active', 'past_due') and not s.cancel_at_period_end and s.current_period_end > $3)) as "may_spend!"
        from credit_balances b
        join accounts a on a.account_id = b.account_id
        join plans p on p.plan_id = a.plan_id
        left join subscriptions s on s.account_id = b.account_id
        where b.account_id = any($1)
        order by b.account_id
        for update of b
        "#,
        accounts,
        now,
        now - grace
    )
    .fetch_all(connection)
    .await?;
    let locked = rows.into_iter().map(|row| {
        let balance = LockedBalance {
            pools: Pools { plan: row.plan, extra: row.extra, held: row.held, last_seq: row.last_seq },
            next_expiry_at: row.next_expiry_at,
            next_hold_expiry_at: row.next_hold_expiry_at,
        };
        (row.account, LockedAccount { balance, may_spend: row.may_spend })
    });
    Ok(locked.collect())
}

/// Which of these witnesses, each with the account it wants to spend from, don't bear it out any more at `now`.
pub async fn list_strangers(
    connection: &mut PgConnection,
    witnesses: &[(AccountId, Witness)],
    now: Timestamp,
) -> Result<HashSet<(AccountId, SessionId)>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select witness.account_id as "account!: AccountId", witness.session_id as "session!: SessionId"
        from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::int[]) as witness (account_id, session_id, user_id, factor)
        left join sessions on sessions.session_id = witness.session_id and sessions.user_id = witness.user_id
                           and sessions.revoked_at is null and sessions.expires_at > $5
        left join users u on u.user_id = sessions.user_id and u.account_id = witness.account_id
                          and u.is_active and u.deleted_at is null and u.role = any($6)
        left join accounts a on a.account_id = u.account_id
        left join plans p on p.plan_id = a.plan_id
        where coalesce(case when a.throttle_factor_until is null or a.throttle_factor_until > $5 then a.throttle_factor end, p.throttle_factor)
              is distinct from witness.factor
        "#,
        &witnesses.iter().map(|(account, _)| account.0).collect::<Vec<_>>(),
        &witnesses.iter().map(|(_, witness)| witness.session.0).collect::<Vec<_>>(),
        &witnesses.iter().map(|(_, witness)| witness.user.0).collect::<Vec<_>>(),
        &witnesses.iter().map(|(_, witness)| witness.throttle_factor).collect::<Vec<_>>(),
        now,
        &spenders()
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.account, row.session)).collect())
}
