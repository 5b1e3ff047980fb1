//! SQL of the laws: one query each, that returns no row when all is well.

use crate::{
    db::StoreError,
    ids::AccountId,
    system::model::{Finding, Law},
};
use sqlx::PgConnection;

/// Rows that break one law are told up to this many; the first ones are enough to know.
pub const FINDINGS_MAX: i64 = 1_000;

/// Runs a law's query, which gives `account_id` and `detail`.
macro_rules! findings {
    ($connection:ident, $query:literal) => {
        sqlx::query_as!(Finding, $query, FINDINGS_MAX).fetch_all($connection).await?
    };
}

/// The rows that break a law.
pub async fn list_findings(connection: &mut PgConnection, law: Law) -> Result<Vec<Finding>, StoreError> {
    Ok(match law {
        Law::I1 => balances_unlike_ledger(connection).await?,
        Law::I2 => broken_sequences(connection).await?,
        Law::I3 => negative_balances(connection).await?,
        Law::I4 => keys_used_twice(connection).await?,
        Law::I5 => periods_granted_twice(connection).await?,
        Law::I6 => periods_that_do_not_join(connection).await?,
        Law::I7 => payments_without_effect(connection).await?,
        Law::I8 => accounts_that_lack_something(connection).await?,
        Law::I9 => children_of_others(connection).await?,
        Law::I10 => changes_without_record(connection).await?,
    })
}

async fn balances_unlike_ledger(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", detail as "detail!"
        from (
            select coalesce(b.account_id, t.account_id) as account_id,
                   format('plan %s and extra %s in the balance, plan %s and extra %s in the ledger', coalesce(b.plan_credits, 0),
                          coalesce(b.extra_credits, 0), coalesce(t.plan_sum, 0), coalesce(t.extra_sum, 0)) as detail
            from credit_balances b
            full join (
                select account_id, sum(plan_amount) as plan_sum, sum(extra_amount) as extra_sum from credit_transactions group by account_id
            ) t on t.account_id = b.account_id
            where coalesce(b.plan_credits, 0) <> coalesce(t.plan_sum, 0) or coalesce(b.extra_credits, 0) <> coalesce(t.extra_sum, 0)
               or b.account_id is null
            union all
            -- Lots lag behind what is spent, and never behind what is there; the balance knows which ends first.
            select b.account_id, format('lots of %s credits for an extra pool of %s; the first ends %s, and the balance says %s', l.lots_sum, b.extra_credits,
                                        coalesce(l.first_end::text, 'never'), coalesce(b.next_expiry_at::text, 'never'))
            from credit_balances b
            left join (select account_id, sum(remaining) as lots_sum, min(expires_at) as first_end from credit_lots group by account_id) l
                on l.account_id = b.account_id
            where l.lots_sum < b.extra_credits or l.first_end is distinct from b.next_expiry_at
            union all
            select coalesce(m.account_id, e.account_id), format('money %s in the balance, %s in the ledger', coalesce(m.balance, 0), coalesce(e.sum, 0))
            from account_money m
            full join (select account_id, sum(amount) as sum from account_money_entries group by account_id) e on e.account_id = m.account_id
            where coalesce(m.balance, 0) <> coalesce(e.sum, 0)
        ) unlike
        order by account_id
        limit $1
        "#
    ))
}

async fn broken_sequences(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", detail as "detail!"
        from (
            select account_id, seq, format('row %s follows row %s', seq, seq_before) as detail
            from (select account_id, seq, lag(seq, 1, 0) over (partition by account_id order by seq) as seq_before from credit_transactions) s
            where seq <> seq_before + 1
            union all
            select account_id, seq, format('row %s: plan %s changed by %s is not %s, or extra %s changed by %s is not %s', seq, plan_before, plan_amount,
                                           plan_after, extra_before, extra_amount, extra_after)
            from (
                select account_id, seq, plan_amount, extra_amount, plan_after, extra_after,
                       lag(plan_after, 1, 0) over (partition by account_id order by seq) as plan_before,
                       lag(extra_after, 1, 0) over (partition by account_id order by seq) as extra_before
                from credit_transactions
            ) a
            where plan_after <> plan_before + plan_amount or extra_after <> extra_before + extra_amount
            union all
            -- The past is found by the sequence, which therefore follows time, but for `credits::history::rules::DISORDER_MAX`.
            select account_id, seq, format('row %s was made at %s, and the row before at %s', seq, created_at, made_before)
            from (select account_id, seq, created_at, lag(created_at) over (partition by account_id order by seq) as made_before from credit_transactions) m
            where created_at < made_before - interval '60 seconds'
            union all
            select b.account_id, b.last_seq, format('the balance row is at %s, the ledger at %s', b.last_seq, coalesce(max(t.seq), 0))
            from credit_balances b
            left join credit_transactions t on t.account_id = b.account_id
            group by b.account_id, b.last_seq
            having b.last_seq <> coalesce(max(t.seq), 0)
            union all
            select account_id, seq, format('money row %s follows row %s: %s changed by %s is not %s', seq, seq_before, balance_before, amount, balance_after)
            from (
                select account_id, seq, amount, balance_after, lag(seq, 1, 0) over (partition by account_id order by seq) as seq_before,
                       lag(balance_after, 1, 0) over (partition by account_id order by seq) as balance_before
                from account_money_entries
            ) m
            where seq <> seq_before + 1 or balance_after <> balance_before + amount
            union all
            select m.account_id, m.last_seq, format('the money is at row %s, its ledger at %s', m.last_seq, coalesce(max(e.seq), 0))
            from account_money m
            left join account_money_entries e on e.account_id = m.account_id
            group by m.account_id, m.last_seq
            having m.last_seq <> coalesce(max(e.seq), 0)
        ) broken
        order by account_id, seq
        limit $1
        "#
    ))
}

async fn negative_balances(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", detail as "detail!"
        from (
            select account_id, format('the balance is plan %s, extra %s', plan_credits, extra_credits) as detail
            from credit_balances
            where plan_credits < 0 or extra_credits < 0
            union all
            select account_id, format('after row %s it was plan %s, extra %s', seq, plan_after, extra_after)
            from credit_transactions
            where plan_after < 0 or extra_after < 0
            union all
            select b.account_id, format('%s are held of plan %s, extra %s, and %s by the open holds', b.held, plan_credits, extra_credits, coalesce(h.held, 0))
            from credit_balances b
            left join (select account_id, sum(amount) as held from credit_holds where status = 'open' group by account_id) h on h.account_id = b.account_id
            where b.held <> coalesce(h.held, 0) or b.held > plan_credits + extra_credits
            union all
            select account_id, format('its money is %s', balance) from account_money where balance < 0
            union all
            select account_id, format('after row %s its money was %s', seq, balance_after) from account_money_entries where balance_after < 0
            union all
            -- What is left of a deduction that was given back.
            select t.account_id, format('of row %s, which took %s, %s were given back', t.seq, -t.amount, sum(r.amount))
            from credit_refunds r
            join credit_transactions t on t.account_id = r.account_id and t.seq = r.deduction_seq
            group by t.account_id, t.seq, t.amount
            having t.amount + sum(r.amount) > 0
        ) negative
        order by account_id
        limit $1
        "#
    ))
}

async fn keys_used_twice(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", format('%s rows have the key %L', count(*), idempotency_key) as "detail!"
        from (
            select account_id, idempotency_key, 'ledger' as place from credit_transactions where idempotency_key is not null
            union all
            select account_id, idempotency_key, 'answers' from idempotency_keys
        ) keys
        group by account_id, idempotency_key, place
        having count(*) > 1
        order by account_id
        limit $1
        "#
    ))
}

async fn periods_granted_twice(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", format('period %s was granted %s times', period_seq, count(*)) as "detail!"
        from credit_transactions
        where kind = 'subscription' and period_seq is not null
        group by account_id, period_seq
        having count(*) > 1
        order by account_id
        limit $1
        "#
    ))
}

async fn periods_that_do_not_join(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId",
               format('period %s starts at %s; period %s ended at %s; recorded lapse from %s', period_seq, starts_at, seq_before,
                      coalesce(ended_before::text, 'never'), coalesce(lapsed_from::text, 'never')) as "detail!"
        from (
            select account_id, period_seq, starts_at, lapsed_from,
                   lag(period_seq, 1, 0) over (partition by account_id order by period_seq) as seq_before,
                   lag(ends_at) over (partition by account_id order by period_seq) as ended_before
            from subscription_periods
        ) p
        where period_seq <> seq_before + 1
           or starts_at < ended_before
           -- A gap is recorded with the very instant at which it began, and nothing else is.
           or lapsed_from is distinct from (case when ended_before < starts_at then ended_before end)
        order by account_id, period_seq
        limit $1
        "#
    ))
}

async fn payments_without_effect(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", detail as "detail!"
        from (
            -- The transfer that completes an invoice buys its period; one without an invoice buys its own.
            select pay.account_id, format('payment %s bought %s periods', pay.payment_id, count(p.period_seq)) as detail
            from payments pay
            left join subscription_periods p on p.account_id = pay.account_id and p.payment_id = pay.payment_id
            where pay.status in ('confirmed', 'reversed')
            group by pay.account_id, pay.payment_id, pay.invoice_id
            having count(p.period_seq) > 1 or (count(p.period_seq) = 0 and pay.invoice_id is null)
            union all
            select i.account_id, format('invoice %s is %s and bought %s standing periods', i.number, i.status, count(p.period_seq))
            from invoices i
            left join payments pay on pay.invoice_id = i.invoice_id and pay.status in ('confirmed', 'reversed')
            left join subscription_periods p on p.payment_id = pay.payment_id and p.reversed_at is null
            group by i.account_id, i.invoice_id, i.number, i.status
            having count(p.period_seq) <> (case when i.status = 'paid' then 1 else 0 end)
            union all
            select pay.account_id, format('payment %s is %s and moved %s of %s', pay.payment_id, pay.status, coalesce(sum(e.amount), 0), pay.amount)
            from payments pay
            left join account_money_entries e on e.payment_id = pay.payment_id
            where pay.invoice_id is not null
            group by pay.account_id, pay.payment_id, pay.status, pay.amount
            having coalesce(sum(e.amount), 0) <> (case when pay.status = 'confirmed' then pay.amount else 0 end)
            union all
            select i.account_id, format('invoice %s is %s and took %s of %s', i.number, i.status, coalesce(-sum(e.amount), 0), i.amount)
            from invoices i
            left join account_money_entries e on e.invoice_id = i.invoice_id and e.kind = 'settlement'
            group by i.account_id, i.invoice_id, i.number, i.status, i.amount
            having coalesce(-sum(e.amount), 0) <> (case when i.status = 'paid' then i.amount else 0 end)
            union all
            select pay.account_id, format('period %s of payment %s has %s grants for %s credits', p.period_seq, pay.payment_id, count(t.seq), p.credits)
            from payments pay
            join subscription_periods p on p.account_id = pay.account_id and p.payment_id = pay.payment_id
            left join credit_transactions t on t.account_id = p.account_id and t.period_seq = p.period_seq and t.kind = 'subscription'
            where pay.status in ('confirmed', 'reversed')
            group by pay.account_id, pay.payment_id, p.period_seq, p.credits
            having count(t.seq) <> (case when p.credits > 0 then 1 else 0 end)
            union all
            select p.account_id, format('period %s was bought by no confirmed payment', p.period_seq)
            from subscription_periods p
            left join payments pay on pay.account_id = p.account_id and pay.payment_id = p.payment_id and pay.status in ('confirmed', 'reversed')
            where (p.kind in ('activation', 'renewal') or p.payment_id is not null) and pay.payment_id is null
            union all
            select t.account_id, format('row %s grants %s for period %s, which gives %s', t.seq, t.amount, coalesce(t.period_seq::text, 'none'),
                                        coalesce(p.credits::text, 'nothing'))
            from credit_transactions t
            left join subscription_periods p on p.account_id = t.account_id and p.period_seq = t.period_seq
            where t.kind = 'subscription' and t.amount is distinct from p.credits
        ) unsourced
        order by account_id
        limit $1
        "#
    ))
}

/// A system account is staff's own: a developer stands for its owner, and no calendar or ledger needs to begin.
/// A deleted account keeps its ledger only.
async fn accounts_that_lack_something(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select a.account_id as "account?: AccountId", 'it has no ' || lacking.what as "detail!"
        from accounts a
        cross join lateral (
            select 'owner' as what
            where a.deleted_at is null and not exists (
                select 1 from users u
                where u.account_id = a.account_id and u.deleted_at is null and (u.role = 'owner' or (a.is_system and u.role = 'developer'))
            )
            union all
            select 'plan' where a.deleted_at is null and a.plan_id is null
            union all
            select 'subscription'
            where not a.is_system and a.deleted_at is null and not exists (select 1 from subscriptions s where s.account_id = a.account_id)
            union all
            select 'first period'
            where not a.is_system and a.deleted_at is null
              and not exists (select 1 from subscription_periods p where p.account_id = a.account_id and p.period_seq = 1)
            union all
            select 'first ledger row'
            where not a.is_system and not exists (select 1 from credit_transactions t where t.account_id = a.account_id and t.seq = 1)
        ) lacking
        order by a.account_id
        limit $1
        "#
    ))
}

async fn children_of_others(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", detail as "detail!"
        from (
            select c.account_id, format('access to site %s, which is of account %s', c.site_id, coalesce(s.account_id::text, 'nobody')) as detail
            from site_access c left join sites s on s.site_id = c.site_id
            where s.account_id is distinct from c.account_id
            union all
            select c.account_id, format('access for user %s, who is of account %s', c.user_id, coalesce(u.account_id::text, 'nobody'))
            from site_access c left join users u on u.user_id = c.user_id
            where u.account_id is distinct from c.account_id
            union all
            select c.account_id, format('key %s of site %s, which is of account %s', c.site_key_id, c.site_id, coalesce(s.account_id::text, 'nobody'))
            from site_keys c left join sites s on s.site_id = c.site_id
            where s.account_id is distinct from c.account_id
            union all
            select c.account_id, format('payment %s of invoice %s, which is of account %s', c.payment_id, c.invoice_id,
                                        coalesce(i.account_id::text, 'nobody'))
            from payments c left join invoices i on i.invoice_id = c.invoice_id
            where c.invoice_id is not null and i.account_id is distinct from c.account_id
            union all
            select c.account_id, format('period %s of payment %s, which is of account %s', c.period_seq, c.payment_id,
                                        coalesce(p.account_id::text, 'nobody'))
            from subscription_periods c left join payments p on p.payment_id = c.payment_id
            where c.payment_id is not null and p.account_id is distinct from c.account_id
            union all
            select c.account_id, format('money row %s of payment %s, which is of account %s', c.seq, c.payment_id, coalesce(p.account_id::text, 'nobody'))
            from account_money_entries c left join payments p on p.payment_id = c.payment_id
            where c.payment_id is not null and p.account_id is distinct from c.account_id
            union all
            select c.account_id, format('money row %s of invoice %s, which is of account %s', c.seq, c.invoice_id, coalesce(i.account_id::text, 'nobody'))
            from account_money_entries c left join invoices i on i.invoice_id = c.invoice_id
            where c.invoice_id is not null and i.account_id is distinct from c.account_id
        ) strays
        order by account_id
        limit $1
        "#
    ))
}

/// An imported account has `account.imported` in the place of `account.registered`.
async fn changes_without_record(connection: &mut PgConnection) -> Result<Vec<Finding>, StoreError> {
    Ok(findings!(
        connection,
        r#"
        select account_id as "account?: AccountId", detail as "detail!"
        from (
            select a.account_id, format('%s audit rows tell how it came about', count(l.audit_id)) as detail
            from accounts a
            left join audit_log l on l.account_id = a.account_id and l.action in ('account.registered', 'account.imported')
            where not a.is_system
            group by a.account_id
            having count(l.audit_id) <> 1
            union all
            select p.account_id, format('%s audit rows tell the confirmation of payment %s', count(l.audit_id), p.payment_id)
            from payments p
            left join audit_log l on l.account_id = p.account_id and l.action = 'transfer.confirmed' and l.target = 'payment:' || p.payment_id
            where p.status in ('confirmed', 'reversed')
            group by p.account_id, p.payment_id
            having count(l.audit_id) <> 1
            union all
            select l.account_id, format('audit row %s tells a confirmation of %s that never was', l.audit_id, l.target)
            from audit_log l
            left join payments p on p.account_id = l.account_id and l.target = 'payment:' || p.payment_id and p.status in ('confirmed', 'reversed')
            where l.action = 'transfer.confirmed' and p.payment_id is null
            union all
            select p.account_id, format('%s audit rows tell the reversal of payment %s, which is %s', count(l.audit_id), p.payment_id, p.status)
            from payments p
            left join audit_log l on l.account_id = p.account_id and l.action = 'transfer.reversed' and l.target = 'payment:' || p.payment_id
            group by p.account_id, p.payment_id, p.status
            having count(l.audit_id) <> (case when p.status = 'reversed' then 1 else 0 end)
            union all
            select t.account_id, format('%s audit rows tell of row %s, a %s by staff', count(l.audit_id), t.seq, t.kind)
            from credit_transactions t
            left join audit_log l on l.account_id = t.account_id and l.action in ('credits.purchased', 'credits.refunded')
                                  and l.after ->> 'transaction' = t.seq::text
            where t.kind in ('purchase', 'refund') and t.actor like 'user:%'
            group by t.account_id, t.seq, t.kind
            having count(l.audit_id) <> 1
            union all
            select l.account_id, format('audit row %s tells of row %s, which is not there', l.audit_id, l.after ->> 'transaction')
            from audit_log l
            left join credit_transactions t on t.account_id = l.account_id and t.seq = (l.after ->> 'transaction')::bigint
            where l.action in ('credits.adjusted', 'credits.purchased', 'credits.refunded') and t.seq is null
        ) unrecorded
        order by account_id
        limit $1
        "#
    ))
}
