//! Asks for a smaller plan, and takes that back. One transaction each.

use super::{
    model::{Downgrade, DowngradeRefused},
    rules,
};
use crate::{
    accounts::{
        self,
        life::{AccountError, Held},
    },
    audit::model::Origin,
    auth,
    billing::{
        model::{InvoicePurpose, InvoiceStatus, Run},
        rules::payable,
        service::{BillingError, plan_named_in, record_in},
        store,
    },
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, PlanId},
    plans::{self, model::Plan},
    sites::{self, model::Sight},
    subscriptions::{self, model::NextPlan},
};
use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgConnection;

/// Sites that a preview looks at, at the most …
const SITES_TOLD_MAX: i64 = 500;
/// … and people.
const PEOPLE_TOLD_MAX: i64 = 500;

/// An account asks to go on with a smaller plan when what is paid for ends. Asked again, it is the same; asked for another
/// one, that takes its place. Dry: same checks, same answer, nothing written.
pub async fn ask(
    pool: &Pool,
    account: AccountId,
    (plan_slug, run): (&str, Run),
    grace: TimeDelta,
    origin: &Origin,
    now: Timestamp,
) -> Result<Downgrade, BillingError> {
    let (sites, _) = sites::store::list_sites(pool, account, Sight::All, SITES_TOLD_MAX, 0).await?;
    let (people, _) = auth::members::store::list_members(pool, account, PEOPLE_TOLD_MAX, 0).await?;
    let (plan, takes_effect_at) = db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let asked = ask_in(&mut tx, account, plan_slug, grace, origin, now).await?;
        match run {
            Run::Real => tx.commit().await.map_err(StoreError::from)?,
            Run::Dry => tx.rollback().await.map_err(StoreError::from)?,
        }
        Ok::<_, BillingError>(asked)
    })
    .await?;
    Ok(Downgrade { exceeds: rules::excess(&plan, &sites, &people), plan, takes_effect_at, dry_run: run == Run::Dry })
}

async fn ask_in(
    connection: &mut PgConnection,
    account: AccountId,
    plan_slug: &str,
    grace: TimeDelta,
    origin: &Origin,
    now: Timestamp,
) -> Result<(Plan, Timestamp), BillingError> {
    let held = hold_in(connection, account, grace, now).await?;
    let plan = plan_named_in(connection, plan_slug, &[]).await?;
    payable(&plan)?;
    let own = match held.row.plan {
        Some(own) => Some(plans::store::get_plan(&mut *connection, own).await?),
        None => None,
    };
    let standing = (held.standing.account, held.subscription.as_ref());
    let starts_at = rules::takes_effect_at(standing, own.as_ref(), &plan)?;
    let next = NextPlan { plan: plan.id, starts_at };
    if held.subscription.as_ref().and_then(|locked| locked.next) != Some(next) {
        void_renewal_unless_for(connection, account, plan.id, now).await?;
        subscriptions::store::mark_next_plan(connection, account, Some(next), now).await?;
        let after = json!({"plan": plan.slug, "takes_effect_at": starts_at});
        let change = (json!({"plan": own.map(|own| own.slug)}), after);
        record_in(connection, account, "subscription.downgrade_asked", format!("account:{account}"), change, None, origin, now).await?;
    }
    Ok((plan, starts_at))
}

/// Takes back a smaller plan that has not begun: the account goes on with its own.
pub async fn cancel(pool: &Pool, account: AccountId, grace: TimeDelta, origin: &Origin, now: Timestamp) -> Result<Plan, BillingError> {
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        let held = hold_in(&mut tx, account, grace, now).await?;
        rules::cancellable(held.subscription.as_ref())?;
        let (Some(own), Some(locked)) = (held.row.plan, &held.subscription) else {
            return Err(DowngradeRefused::NonePending.into());
        };
        void_renewal_unless_for(&mut tx, account, own, now).await?;
        subscriptions::store::mark_next_plan(&mut tx, account, None, now).await?;
        let change = (json!({"plan": locked.next.map(|next| next.plan)}), json!({"plan": own}));
        record_in(&mut tx, account, "subscription.downgrade_cancelled", format!("account:{account}"), change, None, origin, now).await?;
        let own = plans::store::get_plan(&mut *tx, own).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(own)
    })
    .await
}

async fn hold_in(connection: &mut PgConnection, account: AccountId, grace: TimeDelta, now: Timestamp) -> Result<Held, BillingError> {
    let held = accounts::life::hold_in(connection, account, grace, now).await?;
    if held.row.is_system { Err(AccountError::System.into()) } else { Ok(held) }
}

/// A renewal's invoice that asks for another plan's price is withdrawn; the next round writes the right one.
async fn void_renewal_unless_for(
    connection: &mut PgConnection,
    account: AccountId,
    plan: PlanId,
    now: Timestamp,
) -> Result<(), BillingError> {
    let open = store::lock_open_invoice(connection, account).await?;
    if let Some(open) = open.filter(|open| open.purpose == InvoicePurpose::Renewal && open.plan != plan) {
        store::mark_invoice(connection, account, open.id, InvoiceStatus::Void, now).await?;
    }
    Ok(())
}
