//! What an edit makes of a plan, and which edits a plan refuses.

use super::model::{Assignment, PlanEdit, PlanRecord};
use crate::money::{Credits, CreditsOutOfRange};
use serde_json::{Map, Value, json};

/// Why a plan can't be changed so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EditRefused {
    /// What payment assigns must have a price, or it could be had for nothing (A4).
    #[error("a plan that payment assigns needs a price")]
    PriceMissing,
    /// What payment doesn't assign can't be paid for, so a price would only mislead.
    #[error("a plan that payment does not assign has no price")]
    PriceUnpayable,
    /// More credits than an account can hold.
    #[error(transparent)]
    Credits(#[from] CreditsOutOfRange),
}

/// The plan as it stands after the edit.
pub fn edited(before: &PlanRecord, edit: PlanEdit) -> Result<PlanRecord, EditRefused> {
    let mut after = before.clone();
    let plan = &mut after.plan;
    plan.name = edit.name.unwrap_or_else(|| plan.name.clone());
    plan.price = edit.price.unwrap_or(plan.price);
    plan.max_sites = edit.max_sites.unwrap_or(plan.max_sites);
    plan.max_users = edit.max_users.unwrap_or(plan.max_users);
    plan.max_sectors = edit.max_sectors.unwrap_or(plan.max_sectors);
    plan.is_active = edit.is_active.unwrap_or(plan.is_active);
    if let Some(features) = edit.features {
        plan.features = features.0;
    }
    after.own_credits_per_month = edit.credits_per_month.unwrap_or(before.own_credits_per_month);
    // The same as the column effective_credits: one number for seeding, activation and renewal.
    after.plan.credits_per_month = Credits::new(after.own_credits_per_month.unwrap_or(before.included_credits))?;
    match (after.assignment, after.plan.price.is_zero()) {
        (Assignment::Payment, true) => Err(EditRefused::PriceMissing),
        (Assignment::Signup | Assignment::Manual, false) => Err(EditRefused::PriceUnpayable),
        (Assignment::Payment, false) | (Assignment::Signup | Assignment::Manual, true) => Ok(after),
    }
}

/// Whether customers would pay or get something else by it: then it is a new version, and those who have the plan keep theirs.
pub fn is_new_version(before: &PlanRecord, after: &PlanRecord) -> bool {
    let terms = |record: &PlanRecord| {
        let plan = record.plan.clone();
        (plan.price, record.own_credits_per_month, plan.max_sites, plan.max_users, plan.max_sectors, plan.features)
    };
    terms(before) != terms(after)
}

/// The fields that differ, before and after, for the audit log. Both empty: nothing changed.
pub fn difference(before: &PlanRecord, after: &PlanRecord) -> (Map<String, Value>, Map<String, Value>) {
    let fields = |record: &PlanRecord| {
        [
            ("name", json!(record.plan.name)),
            ("price", json!(record.plan.price)),
            ("credits_per_month", json!(record.own_credits_per_month)),
            ("max_sites", json!(record.plan.max_sites)),
            ("max_users", json!(record.plan.max_users)),
            ("max_sectors", json!(record.plan.max_sectors)),
            ("features", json!(record.plan.features)),
            ("is_active", json!(record.plan.is_active)),
        ]
    };
    let pairs = fields(before).into_iter().zip(fields(after)).filter(|(old, new)| old.1 != new.1);
    pairs.map(|((name, old), (_, new))| ((name.to_owned(), old), (name.to_owned(), new))).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, ids::PlanId, money::Money, period::BillingCycle, plans::model::Plan};

    fn plan(assignment: Assignment, price: &str) -> PlanRecord {
        let plan = Plan {
            number: PlanId(3),
            id: PlanId(3),
            slug: "starter".to_owned(),
            name: "Starter".to_owned(),
            price: price.parse().unwrap(),
            billing_cycle: BillingCycle::Monthly,
            credits_per_month: Credits::new(1_000).unwrap(),
            max_sites: 1,
            max_users: 2,
            max_sectors: 5,
            features: vec!["ai_writer".to_owned()],
            is_active: true,
            assignment,
            throttle_factor: 2,
        };
        let (created_at, updated_at) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        PlanRecord {
            plan,
            own_credits_per_month: Some(1_000),
            included_credits: 750,
            assignment,
            throttle_factor: 2,
            version: 1,
            superseded_at: None,
            created_at,
            updated_at,
        }
    }

    #[test]
    fn an_edit_changes_what_it_names_and_nothing_else() {
        let before = plan(Assignment::Payment, "89.00");

        let after = edited(&before, PlanEdit { price: Some("99.5".parse().unwrap()), max_sites: Some(2), ..PlanEdit::default() }).unwrap();

        let (old, new) = difference(&before, &after);
        assert_eq!(Value::from(old), json!({"price": "89.00", "max_sites": 1}));
        assert_eq!(Value::from(new), json!({"price": "99.50", "max_sites": 2}));
    }

    #[test]
    fn an_unset_monthly_figure_falls_back_to_the_included_credits() {
        let before = plan(Assignment::Payment, "89.00");

        let after = edited(&before, PlanEdit { credits_per_month: Some(None), ..PlanEdit::default() }).unwrap();

        assert_eq!(after.plan.credits_per_month, Credits::new(750).unwrap());
    }

    #[test]
    fn a4_a_plan_has_a_price_exactly_if_payment_assigns_it() {
        let priced = |price: &str| PlanEdit { price: Some(price.parse().unwrap()), ..PlanEdit::default() };

        assert_eq!(edited(&plan(Assignment::Payment, "89.00"), priced("0")), Err(EditRefused::PriceMissing));
        assert_eq!(edited(&plan(Assignment::Signup, "0.00"), priced("1")), Err(EditRefused::PriceUnpayable));
        assert_eq!(edited(&plan(Assignment::Manual, "0.00"), priced("1")), Err(EditRefused::PriceUnpayable));
        assert_eq!(edited(&plan(Assignment::Manual, "0.00"), priced("0")).unwrap().plan.price, Money::ZERO);
    }

    #[test]
    fn other_terms_are_a_new_version_and_another_name_or_a_switch_is_not() {
        let before = plan(Assignment::Payment, "89.00");
        let is_new = |edit: PlanEdit| is_new_version(&before, &edited(&before, edit).unwrap());

        assert!(is_new(PlanEdit { price: Some("90".parse().unwrap()), ..PlanEdit::default() }));
        assert!(is_new(PlanEdit { credits_per_month: Some(Some(5)), ..PlanEdit::default() }));
        assert!(is_new(PlanEdit { max_users: Some(9), ..PlanEdit::default() }));
        assert!(!is_new(PlanEdit { name: Some("Other".to_owned()), is_active: Some(false), ..PlanEdit::default() }));
    }

    #[test]
    fn an_edit_without_difference_is_none() {
        let before = plan(Assignment::Payment, "89.00");

        let after = edited(&before, PlanEdit { name: Some("Starter".to_owned()), ..PlanEdit::default() }).unwrap();

        assert_eq!(difference(&before, &after), (Map::new(), Map::new()));
    }
}
