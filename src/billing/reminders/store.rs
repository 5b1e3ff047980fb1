//! SQL of reminders.

use super::model::{Ending, Moment, Owed, Whose, Window};
use crate::{
    billing::{model::InvoiceStatus, rules::paid_and_outstanding, store::money},
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, InvoiceId},
};
use sqlx::PgExecutor;

/// Accounts after one of them, by number, whom a reminder is true of at `now` and who were not told: with `only`, that one.
pub async fn list_ending(
    executor: impl PgExecutor<'_>,
    (after, only): (AccountId, Option<AccountId>),
    window: Window,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<Ending>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select a.account_id as "account: AccountId", a.name, p.name as plan, s.current_period_end,
               i.invoice_id as "invoice?: InvoiceId", i.amount as "amount?", coalesce(m.balance, 0) as "balance!", i.currency as "currency?",
               i.reference as "reference?"
        from subscriptions s
        join accounts a on a.account_id = s.account_id
        join plans p on p.plan_id = s.plan_id
        left join invoices i on i.account_id = a.account_id and i.status = 'open'
        left join account_money m on m.account_id = a.account_id
        where s.current_period_end > $3 and s.current_period_end <= $4 and a.account_id > $1 and ($2::bigint is null or a.account_id = $2)
          and s.status <> 'canceled' and (s.status = 'trialing') = $5 and not s.cancel_at_period_end
          and a.status <> 'cancelled' and (a.status <> 'suspended' or $6 = 'ended') and not a.is_system and a.deleted_at is null
          and (p.assignment <> 'manual')
          and not exists (select from renewal_reminders r
                          where r.account_id = a.account_id and r.period_ends_at = s.current_period_end and r.moment = $6)
        order by a.account_id limit $7
        "#,
        after.0,
        only.map(|account| account.0),
        now - window.until,
        now - window.from,
        window.whose == Whose::Trial,
        window.moment.as_str(),
        limit
    )
    .fetch_all(executor)
    .await?;
    let endings = rows.into_iter().map(|row| {
        let invoice = row.invoice.zip(row.amount).zip(row.currency.zip(row.reference));
        let owed = match invoice {
            None => None,
            Some(((invoice, amount), (currency, reference))) => {
                let (_, outstanding) = paid_and_outstanding(InvoiceStatus::Open, money(amount)?, money(row.balance)?);
                Some(Owed { invoice, outstanding, currency, reference })
            }
        };
        Ok(Ending { account: row.account, name: row.name, plan: row.plan, ends_at: row.current_period_end, owed })
    });
    endings.collect()
}

/// Notes that a reminder is written.
pub async fn insert_reminder(executor: impl PgExecutor<'_>, ending: &Ending, moment: Moment, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into renewal_reminders (account_id, period_ends_at, moment, written_at) values ($1, $2, $3, $4)",
        ending.account.0,
        ending.ends_at,
        moment.as_str(),
        now
    )
    .execute(executor)
    .await?;
    Ok(())
}
