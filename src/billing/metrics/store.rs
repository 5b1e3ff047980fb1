//! SQL of figures: over all accounts but system ones, one query for each.

use super::model::{Cohort, Overdue, Paying, Span};
use crate::{billing::model::CURRENCY, clock::Timestamp, db::StoreError, period::days};
use rust_decimal::Decimal;
use sqlx::PgExecutor;

/// No paid period is longer, so that one that covers an instant began no longer ago.
const PAID_DAYS_MAX: u16 = 366;

/// Who pays at each of these instants, which are in order.
pub async fn list_paying(executor: impl PgExecutor<'_>, instants: &[Timestamp]) -> Result<Vec<Paying>, StoreError> {
    let since = instants.iter().map(|at| *at - days(PAID_DAYS_MAX)).collect::<Vec<_>>();
    let rows = sqlx::query!(
        r#"
        with instant as materialized (
            select at, since, lag(at) over (order by at) as at_before, row_number() over (order by at) as place
            from unnest($1::timestamptz[], $2::timestamptz[]) as t (at, since)
        ), covered as (
            select i.place, i.at_before, p.account_id, p.price, plans.billing_cycle,
                   lag(i.place) over (partition by p.account_id order by i.place) is distinct from i.place - 1 as is_gained
            from instant i
            join subscription_periods p on p.payment_id is not null and p.starts_at > i.since and p.starts_at <= i.at and p.ends_at > i.at
            join payments y on y.account_id = p.account_id and y.payment_id = p.payment_id
            join plans on plans.plan_id = p.plan_id
            join accounts a on a.account_id = p.account_id
            where p.price > 0 and y.currency = $3 and not a.is_system and (a.deleted_at is null or a.deleted_at > i.at)
        ), told as (
            select place, sum(price) filter (where billing_cycle = 'monthly') as by_month, sum(price) filter (where billing_cycle = 'annual') as by_year,
                   count(*) as accounts, count(*) filter (where is_gained) as gained,
                   count(*) filter (where is_gained and at_before >= (
                       select q.starts_at from subscription_periods q
                       where q.account_id = covered.account_id and q.payment_id is not null and q.price > 0 and q.starts_at < q.ends_at
                       order by q.period_seq limit 1
                   )) as returned
            from covered group by place
        )
        select coalesce(by_month, 0) as "by_month!", coalesce(by_year, 0) as "by_year!", coalesce(accounts, 0) as "accounts!",
               coalesce(gained, 0) as "gained!", coalesce(returned, 0) as "returned!"
        from instant left join told on told.place = instant.place order by instant.place
        "#,
        instants,
        &since,
        CURRENCY
    );
    let rows = rows.fetch_all(executor).await?.into_iter();
    let paying = rows.map(|row| Paying {
        by_month: row.by_month,
        by_year: row.by_year,
        accounts: row.accounts,
        gained: row.gained,
        returned: row.returned,
    });
    Ok(paying.collect())
}

/// Who signed up in each of these months, which follow each other, and what became of them.
pub async fn list_cohorts(executor: impl PgExecutor<'_>, spans: &[Span]) -> Result<Vec<Cohort>, StoreError> {
    let starts = starts(spans);
    let rows = sqlx::query!(
        r#"
        select width_bucket(a.created_at, $1::timestamptz[]) as "place!", count(*) as "signups!", count(paid.at) as "converted!",
               count(*) filter (where paid.at < trial.planned_ends_at) as "converted_in_trial!"
        from accounts a
        join subscription_periods trial on trial.account_id = a.account_id and trial.period_seq = 1 and trial.kind = 'trial'
        left join lateral (
            select min(p.created_at) as at from subscription_periods p
            where p.account_id = a.account_id and p.payment_id is not null and p.price > 0 and p.reversed_at is null
        ) paid on true
        where a.created_at >= $2 and a.created_at < $3 and not a.is_system
        group by 1
        "#,
        &starts,
        starts.first().copied(),
        spans.last().map(|span| span.ends_at)
    );
    let mut cohorts = vec![Cohort::default(); spans.len()];
    for row in rows.fetch_all(executor).await? {
        if let Some(cohort) = at_place(&mut cohorts, row.place) {
            let (signups, converted, converted_in_trial) = (row.signups, row.converted, row.converted_in_trial);
            *cohort = Cohort { signups, converted, converted_in_trial, conversion_rate: None };
        }
    }
    Ok(cohorts)
}

/// What came in in each of these months, which follow each other, less what was taken back.
pub async fn list_cash(executor: impl PgExecutor<'_>, spans: &[Span]) -> Result<Vec<Decimal>, StoreError> {
    let starts = starts(spans);
    let rows = sqlx::query!(
        r#"
        select width_bucket(moved.at, $1::timestamptz[]) as "place!", sum(moved.amount) as "amount!"
        from (
            select account_id, currency, confirmed_at as at, amount from payments
            where confirmed_at >= $2 and confirmed_at < $3 and status in ('confirmed', 'reversed')
            union all
            select account_id, currency, reversed_at, -amount from payments
            where reversed_at >= $2 and reversed_at < $3 and status = 'reversed'
        ) moved
        join accounts a on a.account_id = moved.account_id
        where moved.currency = $4 and not a.is_system
        group by 1
        "#,
        &starts,
        starts.first().copied(),
        spans.last().map(|span| span.ends_at),
        CURRENCY
    );
    let mut cash = vec![Decimal::ZERO; spans.len()];
    for row in rows.fetch_all(executor).await? {
        if let Some(amount) = at_place(&mut cash, row.place) {
            *amount = row.amount;
        }
    }
    Ok(cash)
}

/// What should have been paid by now.
pub async fn find_overdue(executor: impl PgExecutor<'_>, now: Timestamp) -> Result<Overdue, StoreError> {
    let row = sqlx::query!(
        r#"
        select count(*) as "invoices!", coalesce(sum(greatest(i.amount - coalesce(m.balance, 0), 0)), 0) as "amount!"
        from invoices i
        join accounts a on a.account_id = i.account_id
        left join account_money m on m.account_id = i.account_id
        where i.status = 'open' and i.due_at < $1 and i.currency = $2 and not a.is_system and a.deleted_at is null
        "#,
        now,
        CURRENCY
    )
    .fetch_one(executor)
    .await?;
    Ok(Overdue { invoices: row.invoices, amount: row.amount })
}

fn starts(spans: &[Span]) -> Vec<Timestamp> {
    spans.iter().map(|span| span.starts_at).collect()
}

/// What stands at a place counted from 1.
fn at_place<T>(list: &mut [T], place: i32) -> Option<&mut T> {
    list.get_mut(usize::try_from(place).ok()?.checked_sub(1)?)
}
