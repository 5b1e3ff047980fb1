//! One account on one page, and stopped or let go on by staff's hand.

use super::{
    model::{Balances, CustomerFile, Instants},
    rules, store,
};
use crate::{
    accounts::{
        self,
        life::AccountError,
        rules::{AccountEvent, Tenancy, standing},
    },
    audit::model::Origin,
    billing::{
        self,
        model::{AdminResult, Confirmed, Run},
        payments,
        service::{BillingError, changed, end, written},
    },
    clock::Timestamp,
    db,
    db::Pool,
    ids::AccountId,
    plans,
};
use chrono::TimeDelta;
use serde_json::json;

/// An account's last payments on its page.
const PAYMENTS_SHOWN: i64 = 10;

/// All that an admin needs to know of one account. Each query by itself: nothing is decided from it.
pub async fn open(pool: &Pool, account: AccountId, grace: TimeDelta, at: Instants) -> Result<CustomerFile, BillingError> {
    let customer = store::find_customer(pool, account, at).await?.ok_or(BillingError::NotFound)?;
    let plan_details = match &customer.plan {
        Some(slug) => plans::store::find_plan_by_slug(pool, slug).await?,
        None => None,
    };
    let mut subscription = store::find_subscription(pool, account).await?;
    let tenancy = if customer.is_system { Tenancy::System } else { Tenancy::Customer };
    let stands = standing(customer.status, tenancy, subscription.as_ref(), grace, at.now);
    if let (Some(subscription), Some(status)) = (&mut subscription, stands.subscription) {
        subscription.status = status;
    }
    let invoice = billing::store::find_open_invoice(pool, account).await?;
    let holdings = store::get_holdings(pool, account).await?;
    let (plan_credits, extra_credits, money) = (holdings.plan_credits, holdings.extra_credits, holdings.money);
    Ok(CustomerFile {
        overdue: invoice.as_ref().and_then(|invoice| rules::overdue(invoice, at.now)),
        payments: payments::store::list_payments_older(pool, account, None, None, PAYMENTS_SHOWN).await?,
        balances: Balances { plan_credits, extra_credits, money },
        sites: holdings.sites,
        users: holdings.users,
        customer,
        plan_details,
        subscription,
        invoice,
    })
}

/// What an admin does to an account, and why.
#[derive(Debug, Clone, Copy)]
pub struct StaffMove<'a> {
    /// Stopped, or let go on.
    pub event: AccountEvent,
    /// For the log.
    pub reason: &'a str,
    /// Whether anything is to be kept.
    pub run: Run,
}

/// Stops an account or lets it go on. A stopped one whose time is over would be stopped again by the calendar: it is paid for
/// instead.
pub async fn move_by_staff(
    pool: &Pool,
    account: AccountId,
    by: StaffMove<'_>,
    grace: TimeDelta,
    origin: &Origin,
    now: Timestamp,
) -> Result<Confirmed, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let held = accounts::life::hold_in(&mut tx, account, grace, now).await?;
        if held.row.is_system && by.event == AccountEvent::Suspended {
            return Err(AccountError::System.into());
        }
        let ends_at = held.subscription.as_ref().map(|locked| locked.subscription.current_period_end);
        if by.event == AccountEvent::Reactivated && ends_at.is_some_and(|end| end + grace <= now) {
            return Err(AccountError::PeriodOver.into());
        }
        let event = (by.event, Some(by.reason));
        let status = accounts::life::move_in(&mut tx, account, held.standing.account, event, origin, now).await?;
        end(tx, by.run).await?;
        let changes = changed([("account.status", [json!(held.standing.account), json!(status)])]);
        let message = format!("{}Account {account} is {status}.", by.run.prefix());
        let data = AdminResult { account_id: account, status, plan: None, credits: None, changes, dry_run: by.run == Run::Dry };
        Ok(Confirmed { data: written(&data)?, message })
    })
    .await
}
