//! SQL of the timeline.

use super::model::{PaidBy, Stretch};
use crate::{
    billing::store::money,
    db::{self, Pool, StoreError},
    ids::{AccountId, InvoiceId, PaymentId},
    subscriptions::model::PeriodKind,
};

/// One page of an account's periods, newest first, with what paid for them, and how many there are in all.
pub async fn list_stretches(pool: &Pool, account: AccountId, limit: i64, offset: i64) -> Result<(Vec<Stretch>, i64), StoreError> {
    let rows = sqlx::query!(
        r#"
        select t.period_seq, t.kind as "kind: PeriodKind", p.slug, p.version, t.price, t.starts_at, t.ends_at, t.planned_ends_at, t.lapsed_from,
               t.created_at, t.reversed_at, t.before_reversed_at, t.next_created_at, t.payment_id as "payment: PaymentId", t.external_payment_id,
               i.invoice_id as "invoice?: InvoiceId", i.number as "number?"
        from (
            select period_seq, kind, plan_id, price, starts_at, ends_at, planned_ends_at, lapsed_from, created_at, reversed_at, payment_id,
                   external_payment_id, lag(reversed_at) over seq as before_reversed_at, lead(created_at) over seq as next_created_at
            from subscription_periods where account_id = $1
            window seq as (order by period_seq)
        ) t
        join plans p on p.plan_id = t.plan_id
        left join payments y on y.account_id = $1 and y.payment_id = t.payment_id
        left join invoices i on i.account_id = $1 and i.invoice_id = y.invoice_id
        order by t.period_seq desc limit $2 offset $3
        "#,
        account.0,
        limit,
        offset
    )
    .fetch_all(pool)
    .await?;
    let stretches = rows.into_iter().map(|row| {
        Ok::<_, StoreError>(Stretch {
            period: row.period_seq,
            kind: row.kind,
            plan_slug: row.slug,
            plan_version: row.version,
            price: money(row.price)?,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            planned_ends_at: row.planned_ends_at,
            lapsed_from: row.lapsed_from,
            created_at: row.created_at,
            reversed_at: row.reversed_at,
            before_reversed_at: row.before_reversed_at,
            next_created_at: row.next_created_at,
            payment: row.payment.zip(row.external_payment_id).map(|(payment_id, external_payment_id)| PaidBy {
                payment_id,
                external_payment_id,
                invoice_id: row.invoice,
                invoice_number: row.number,
            }),
        })
    });
    let stretches = stretches.collect::<Result<Vec<_>, _>>()?;
    let count = match db::count_told_by_page(stretches.len(), limit, offset) {
        Some(count) => count,
        None => crate::subscriptions::store::count_periods(pool, account).await?,
    };
    Ok((stretches, count))
}
