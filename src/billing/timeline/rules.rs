//! Why a period begins and ends when it does, told from what is kept of it. No I/O.

use super::model::{EndRule, Explained, Lapse, StartRule, Stretch};
use crate::{clock::Timestamp, subscriptions::model::PeriodKind};
use chrono::SecondsFormat;

/// Derives each date of a period from the payment and the rule behind it.
pub fn explain(stretch: Stretch) -> Explained {
    let (start_rule, starts_because) = start(&stretch);
    let (end_rule, ends_because) = end(&stretch);
    Explained {
        lapse: stretch.lapsed_from.map(|from| Lapse { from, until: stretch.starts_at }),
        period: stretch.period,
        plan_slug: stretch.plan_slug,
        plan_version: stretch.plan_version,
        price: stretch.price,
        starts_at: stretch.starts_at,
        start_rule,
        starts_because,
        ends_at: stretch.ends_at,
        end_rule,
        ends_because,
        paid_by: stretch.payment,
    }
}

fn start(stretch: &Stretch) -> (StartRule, String) {
    let at = told(stretch.created_at);
    let reference = stretch.payment.as_ref().map_or("", |payment| payment.external_payment_id.as_str());
    // What a reversal lets run on begins in the very instant of the reversal.
    let goes_on = stretch.before_reversed_at == Some(stretch.created_at);
    match stretch.kind {
        PeriodKind::Trial | PeriodKind::Manual if goes_on => {
            (StartRule::Reversal, format!("The payment before was taken back at {at}; what it had cut short goes on from then."))
        }
        PeriodKind::Trial => (StartRule::Trial, format!("Registered at {at}; the trial starts then (B1).")),
        PeriodKind::Manual => (StartRule::ByHand, format!("Set by hand at {at}; it starts then.")),
        PeriodKind::Activation => {
            (StartRule::Activation, format!("Payment {reference} was confirmed at {at} with nothing to join; the period starts then (B2)."))
        }
        PeriodKind::Renewal => {
            (StartRule::Renewal, format!("Payment {reference} was confirmed at {at}; the period joins the one before (B3)."))
        }
    }
}

fn end(stretch: &Stretch) -> (EndRule, String) {
    if let Some(reversed_at) = stretch.reversed_at.filter(|_| stretch.ends_at < stretch.planned_ends_at) {
        return (EndRule::Reversal, format!("Its payment was taken back at {}; nothing is left of it from then on.", told(reversed_at)));
    }
    if stretch.ends_at == stretch.planned_ends_at {
        let length = stretch.ends_at - stretch.starts_at;
        let days = length.num_days();
        let is_whole = length == chrono::TimeDelta::days(days);
        let sentence = match stretch.kind {
            PeriodKind::Trial | PeriodKind::Manual if !is_whole => "The end that was promised before.".to_owned(),
            _ => format!("{days} days of 86,400 seconds after its start."),
        };
        return (EndRule::Length, sentence);
    }
    let planned = told(stretch.planned_ends_at);
    match stretch.next_created_at {
        Some(next) if next == stretch.ends_at => (EndRule::Replaced, format!("Another period took its place; it was to end at {planned}.")),
        Some(_) | None => (EndRule::Cancelled, format!("Cancelled; it was to end at {planned}.")),
    }
}

fn told(instant: Timestamp) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
