//! SQL of subscriptions and their periods.

use super::{
    model::{ComingPlan, Locked, NextPlan, PeriodKind, PeriodRecord, Subscription, SubscriptionStatus},
    rules::Stood,
};
use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, PaymentId, PaymentMethod, PlanId, SubscriptionId},
    money::{Credits, Money},
    period::Period,
};
use sqlx::{PgConnection, PgExecutor};

/// Locks an account's subscription. The account's row comes first (lock order).
pub async fn lock_subscription(connection: &mut PgConnection, account: AccountId) -> Result<Option<Locked>, StoreError> {
    let row = sqlx::query!(
        r#"
        select subscription_id as "id: SubscriptionId", plan_id as "plan_id: PlanId", status as "status: SubscriptionStatus",
               payment_method as "payment_method: PaymentMethod", external_payment_id, current_period_start, current_period_end, cancel_at_period_end,
               next_plan_id as "next_plan: PlanId", next_plan_at
        from subscriptions where account_id = $1 for update
        "#,
        account.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Locked {
        plan: row.plan_id,
        next: row.next_plan.zip(row.next_plan_at).map(|(plan, starts_at)| NextPlan { plan, starts_at }),
        subscription: Subscription {
            id: row.id,
            status: row.status,
            payment_method: row.payment_method,
            external_payment_id: row.external_payment_id,
            current_period_start: row.current_period_start,
            current_period_end: row.current_period_end,
            cancel_at_period_end: row.cancel_at_period_end,
        },
    }))
}

/// What a subscription becomes.
pub struct NewState<'a> {
    /// Its plan.
    pub plan: PlanId,
    /// Its state.
    pub status: SubscriptionStatus,
    /// How it was paid; none on a trial.
    pub payment_method: Option<PaymentMethod>,
    /// The payment's reference.
    pub external_payment_id: Option<&'a str>,
    /// Its present period.
    pub period: Period,
    /// The smaller plan that is still to come.
    pub next: Option<NextPlan>,
}

/// Writes an account's one subscription, whether or not it had one; a wish to cancel is forgotten, and
/// so is one for a smaller plan that the state does not name.
pub async fn put_subscription(
    connection: &mut PgConnection,
    account: AccountId,
    state: &NewState<'_>,
    now: Timestamp,
) -> Result<Subscription, StoreError> {
    let subscription = sqlx::query_as!(
        Subscription,
        r#"
        insert into subscriptions (account_id, plan_id, status, payment_method, external_payment_id, current_period_start, current_period_end, created_at, updated_at,
                                   next_plan_id, next_plan_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9, $10)
        on conflict (account_id) do update set plan_id = $2, status = $3, payment_method = $4, external_payment_id = $5, current_period_start = $6,
            current_period_end = $7, cancel_at_period_end = false, updated_at = $8, next_plan_id = $9, next_plan_at = $10
        returning subscription_id as "id: SubscriptionId", status as "status: SubscriptionStatus", payment_method as "payment_method: PaymentMethod",
                  external_payment_id, current_period_start, current_period_end, cancel_at_period_end
        "#,
        account.0,
        state.plan.0,
        state.status.as_str(),
        state.payment_method.map(PaymentMethod::as_str),
        state.external_payment_id,
        state.period.starts_at,
        state.period.ends_at,
        now,
        state.next.map(|next| next.plan.0),
        state.next.map(|next| next.starts_at)
    )
    .fetch_one(connection)
    .await?;
    Ok(subscription)
}

/// Records how the subscription stands and whether it ends for good at its period's end.
pub async fn mark_status(
    connection: &mut PgConnection,
    account: AccountId,
    status: SubscriptionStatus,
    cancels: bool,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update subscriptions set status = $2, cancel_at_period_end = $3, updated_at = $4 where account_id = $1",
        account.0,
        status.as_str(),
        cancels,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The smaller plan that is still to come at `now`.
pub async fn find_coming_plan(executor: impl PgExecutor<'_>, account: AccountId, now: Timestamp) -> Result<Option<ComingPlan>, StoreError> {
    let plan = sqlx::query_as!(
        ComingPlan,
        r#"
        select p.slug as plan_slug, s.next_plan_at as "starts_at!"
        from subscriptions s join plans p on p.plan_id = s.next_plan_id
        where s.account_id = $1 and s.next_plan_at > $2
        "#,
        account.0,
        now
    );
    Ok(plan.fetch_optional(executor).await?)
}

/// The smaller plan that has begun at `now` and that nobody has recorded yet.
pub async fn find_begun_plan(executor: impl PgExecutor<'_>, account: AccountId, now: Timestamp) -> Result<Option<PlanId>, StoreError> {
    let plan = sqlx::query_scalar!(
        r#"select next_plan_id as "plan: PlanId" from subscriptions where account_id = $1 and next_plan_at <= $2"#,
        account.0,
        now
    );
    Ok(plan.fetch_optional(executor).await?.flatten())
}

/// Records which smaller plan follows, or that none does.
pub async fn mark_next_plan(
    connection: &mut PgConnection,
    account: AccountId,
    next: Option<NextPlan>,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update subscriptions set next_plan_id = $2, next_plan_at = $3, updated_at = $4 where account_id = $1",
        account.0,
        next.map(|next| next.plan.0),
        next.map(|next| next.starts_at),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Records that the smaller plan has begun.
pub async fn mark_next_plan_begun(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update subscriptions set plan_id = next_plan_id, next_plan_id = null, next_plan_at = null, updated_at = $2
        where account_id = $1 and next_plan_id is not null
        "#,
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends now what was to run on: the present period, and one that was paid ahead, which is over before it began and joins
/// the one before all the same.
pub async fn close_periods(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "update subscription_periods set starts_at = least(starts_at, $2), ends_at = $2 where account_id = $1 and ends_at > $2",
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// A period before it is written.
pub struct NewPeriod {
    /// What starts it.
    pub kind: PeriodKind,
    /// Its plan.
    pub plan: PlanId,
    /// What was paid.
    pub price: Money,
    /// What is granted.
    pub credits: Credits,
    /// From when to when.
    pub period: Period,
    /// The payment that bought it, and its own reference.
    pub payment: Option<(PaymentId, String)>,
}

/// Adds a period and gives its number. The subscription must be locked; the database refuses an overlap (B4).
pub async fn insert_period(connection: &mut PgConnection, account: AccountId, new: &NewPeriod, now: Timestamp) -> Result<i32, StoreError> {
    let seq = sqlx::query_scalar!(
        r#"
        insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, payment_id,
                                          external_payment_id, created_at, lapsed_from)
        -- The lapse began when the period before really ended, which may be earlier than it was to (I6). Ends never go back.
        select $1, coalesce(max(period_seq), 0) + 1, $2, $3, $4, $5, $6, $7, $7, $8, $9, $10, case when max(ends_at) < $6 then max(ends_at) end
        from subscription_periods where account_id = $1
        returning period_seq
        "#,
        account.0,
        new.plan.0,
        new.kind.as_str(),
        new.price.decimal(),
        new.credits.get(),
        new.period.starts_at,
        new.period.ends_at,
        new.payment.as_ref().map(|(payment, _)| payment.0),
        new.payment.as_ref().map(|(_, reference)| reference.as_str()),
        now
    )
    .fetch_one(connection)
    .await?;
    Ok(seq)
}

/// An account's periods as they stand, by number.
pub async fn list_stood(connection: &mut PgConnection, account: AccountId) -> Result<Vec<Stood>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select period_seq, kind as "kind: PeriodKind", plan_id as "plan: PlanId", starts_at, ends_at, planned_ends_at, external_payment_id,
               reversed_at is not null as "is_reversed!"
        from subscription_periods where account_id = $1 order by period_seq
        "#,
        account.0
    )
    .fetch_all(connection)
    .await?;
    let stood = rows.into_iter().map(|row| Stood {
        seq: row.period_seq,
        kind: row.kind,
        plan: row.plan,
        period: Period { starts_at: row.starts_at, ends_at: row.ends_at },
        planned_ends_at: row.planned_ends_at,
        external_payment_id: row.external_payment_id,
        is_reversed: row.is_reversed,
    });
    Ok(stood.collect())
}

/// The one standing period that one of these payments bought.
pub async fn find_period_bought(connection: &mut PgConnection, account: AccountId, payments: &[i64]) -> Result<Option<i32>, StoreError> {
    let seq = sqlx::query_scalar!(
        "select period_seq from subscription_periods where account_id = $1 and payment_id = any($2) and reversed_at is null",
        account.0,
        payments
    );
    Ok(seq.fetch_optional(connection).await?)
}

/// Takes a period back: what was to come of it never does.
pub async fn mark_reversed(connection: &mut PgConnection, account: AccountId, period_seq: i32, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!(
        r#"
        update subscription_periods set ends_at = greatest(starts_at, least(ends_at, $3)), reversed_at = $3
        where account_id = $1 and period_seq = $2 and reversed_at is null
        "#,
        account.0,
        period_seq,
        now
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Moves what was taken back before it began to where the period before it ends now, so that they still join (I6).
pub async fn draw_reversed(connection: &mut PgConnection, account: AccountId, period_seq: i32) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update subscription_periods later set starts_at = this.ends_at, ends_at = this.ends_at
        from subscription_periods this
        where this.account_id = $1 and this.period_seq = $2 and later.account_id = $1 and later.period_seq > $2
          and later.reversed_at is not null and later.starts_at = later.ends_at and later.starts_at > this.ends_at
        "#,
        account.0,
        period_seq
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends a subscription's present period now, unpaid. A period has a length, be it a microsecond.
pub async fn mark_ended(connection: &mut PgConnection, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        update subscriptions set status = 'past_due', updated_at = $2,
            current_period_end = greatest($2::timestamptz, current_period_start + interval '1 microsecond')
        where account_id = $1
        "#,
        account.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The period history, newest first.
pub async fn list_periods(
    executor: impl PgExecutor<'_>,
    account: AccountId,
    limit: i64,
    offset: i64,
) -> Result<Vec<PeriodRecord>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select s.period_seq, s.kind as "kind: PeriodKind", p.slug, s.price, s.credits as "credits: Credits", s.starts_at, s.ends_at, s.planned_ends_at,
               s.lapsed_from, s.external_payment_id as "external_payment_id?"
        from (select sp.account_id, sp.period_seq, sp.kind, sp.plan_id, sp.price, sp.credits, sp.starts_at, sp.ends_at, sp.planned_ends_at, sp.lapsed_from,
                     sp.external_payment_id from subscription_periods sp where sp.account_id = $1 order by sp.period_seq desc limit $2 offset $3) s
        join plans p on p.plan_id = s.plan_id
        order by s.period_seq desc
        "#,
        account.0,
        limit,
        offset
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PeriodRecord {
                period: row.period_seq,
                kind: row.kind,
                plan_slug: row.slug,
                price: Money::from_decimal(row.price).map_err(|error| sqlx::Error::Decode(error.into()))?,
                credits: row.credits,
                starts_at: row.starts_at,
                ends_at: row.ends_at,
                planned_ends_at: row.planned_ends_at,
                lapsed_from: row.lapsed_from,
                external_payment_id: row.external_payment_id,
            })
        })
        .collect()
}

/// How many periods an account ever had.
pub async fn count_periods(executor: impl PgExecutor<'_>, account: AccountId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(r#"select count(*) as "count!" from subscription_periods where account_id = $1"#, account.0)
        .fetch_one(executor)
        .await?)
}
