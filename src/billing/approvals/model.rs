//! Orders that wait for a second admin.

use crate::{
    billing::model::{OtherAmount, Payee, Run, Transfer},
    credits::model::TransactionKind,
    ids::{AccountId, ApprovalId, UserId},
    money::{Credits, Money},
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

crate::words! {
    /// What is ordered.
    pub enum ApprovalKind {
        /// Credits by hand.
        Credits = "credits",
        /// A plan by hand.
        Plan = "plan",
        /// Another amount taken for what is owed.
        Transfer = "transfer",
    }
}

crate::words! {
    /// How an order stands.
    pub enum ApprovalStatus {
        /// It waits for another admin.
        Pending = "pending",
        /// It was carried out.
        Approved = "approved",
        /// Another admin, or who asked, said no.
        Rejected = "rejected",
        /// Nobody judged it in time.
        Expired = "expired",
    }
}

/// An order, with all that carrying it out takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Credits by hand.
    Credits {
        /// Signed.
        amount: Credits,
        /// An adjustment or a purchase.
        kind: TransactionKind,
        /// When what is left of them is gone.
        expires_at: Option<DateTime<Utc>>,
    },
    /// A plan by hand.
    Plan {
        /// Its word.
        plan_slug: String,
    },
    /// A transfer of another amount than what is outstanding.
    Transfer {
        /// The bank's reference.
        external_payment_id: String,
        /// What came.
        amount: Money,
        /// In which currency.
        currency: Option<String>,
        /// Who paid.
        payer_name: String,
        /// What for.
        plan_slug: Option<String>,
        /// When the money moved.
        paid_on: Option<NaiveDate>,
        /// For the file.
        note: Option<String>,
        /// Whether it counts towards the invoice, rather than being taken for the whole.
        is_partial: bool,
    },
}

impl Work {
    /// What kind of order it is.
    pub fn kind(&self) -> ApprovalKind {
        match self {
            Work::Credits { .. } => ApprovalKind::Credits,
            Work::Plan { .. } => ApprovalKind::Plan,
            Work::Transfer { .. } => ApprovalKind::Transfer,
        }
    }

    /// A transfer as an order.
    pub fn of_transfer(transfer: &Transfer) -> Self {
        Work::Transfer {
            external_payment_id: transfer.external_payment_id.clone(),
            amount: transfer.amount,
            currency: transfer.currency.clone(),
            payer_name: transfer.payer_name.clone(),
            plan_slug: transfer.plan_slug.clone(),
            paid_on: transfer.paid_on,
            note: transfer.note.clone(),
            is_partial: transfer.other_amount == OtherAmount::Counted,
        }
    }
}

/// An order before it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The account that it concerns.
    pub account: AccountId,
    /// What to do.
    pub work: Work,
    /// Why.
    pub reason: String,
    /// Whether it is to wait, or is only tried.
    pub run: Run,
}

impl Wanted {
    /// The transfer that is ordered, if it is one.
    pub fn transfer(&self) -> Option<Transfer> {
        let Work::Transfer { external_payment_id, amount, currency, payer_name, plan_slug, paid_on, note, is_partial } = &self.work else {
            return None;
        };
        let other_amount = if *is_partial { OtherAmount::Counted } else { OtherAmount::Accepted(self.reason.clone()) };
        Some(Transfer {
            payee: Payee::Account(self.account),
            external_payment_id: external_payment_id.clone(),
            amount: *amount,
            currency: currency.clone(),
            payer_name: payer_name.clone(),
            plan_slug: plan_slug.clone(),
            paid_on: *paid_on,
            note: note.clone(),
            other_amount,
            run: self.run,
        })
    }
}

/// An order that waits, or waited, as billing admins see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Approval {
    /// Its number.
    pub id: ApprovalId,
    /// The account that it concerns.
    pub account_id: AccountId,
    /// That account's word.
    pub account_slug: String,
    /// What is ordered.
    pub kind: ApprovalKind,
    /// What it would have done when it was asked for.
    pub summary: String,
    /// All that carrying it out takes.
    #[schema(value_type = Object)]
    pub work: Value,
    /// Why, in the words of who asked.
    pub reason: String,
    /// How it stands.
    pub status: ApprovalStatus,
    /// Who asked; another must judge.
    pub asked_by: UserId,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// From then on it can't be approved.
    pub expires_at: DateTime<Utc>,
    /// Who judged it.
    pub decided_by: Option<UserId>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why it was rejected.
    pub decision_reason: Option<String>,
    /// What it answered when it was carried out.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// What an order answers that has to wait.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waiting {
    /// The order.
    pub approval: Approval,
    /// Whether nothing was kept.
    pub dry_run: bool,
}

/// What an approval answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Approved {
    /// The order, carried out.
    pub approved: Approval,
    /// What it answered.
    #[schema(value_type = Object)]
    pub result: Value,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
