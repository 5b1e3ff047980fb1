//! Invoices, payments, and what a confirmation answers.

use crate::{
    accounts::model::{Account, AccountStatus},
    credits::model::Transaction,
    ids::{AccountId, InvoiceId, PaymentId, PaymentMethod, PlanId},
    money::{Credits, Money},
    subscriptions::model::Subscription,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Invoices are written in this currency (requirements, section 1).
pub const CURRENCY: &str = "USD";

crate::words! {
    /// How an invoice stands.
    pub enum InvoiceStatus {
        /// Owed.
        Open = "open",
        /// Paid in full.
        Paid = "paid",
        /// Withdrawn; never deleted.
        Void = "void",
    }
}

crate::words! {
    /// What an invoice is for.
    pub enum InvoicePurpose {
        /// A plan asked for.
        Upgrade = "upgrade",
        /// The next period of the same plan.
        Renewal = "renewal",
    }
}

crate::words! {
    /// How a payment stands.
    pub enum PaymentStatus {
        /// Somebody says that it was made.
        PendingApproval = "pending_approval",
        /// An admin saw the money.
        Confirmed = "confirmed",
        /// An admin did not.
        Rejected = "rejected",
        /// Taken back by compensating rows.
        Reversed = "reversed",
    }
}

/// An invoice, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Invoice {
    /// Its number for programs.
    pub id: InvoiceId,
    /// Its number for people.
    #[schema(example = "INV-29-202611-0001")]
    pub number: String,
    /// What to write on the transfer.
    #[schema(example = "RF27IG00002926110001")]
    pub reference: String,
    /// How it stands.
    pub status: InvoiceStatus,
    /// What it is for.
    pub purpose: InvoicePurpose,
    /// The plan's word.
    pub plan_slug: String,
    /// One line for people.
    pub description: String,
    /// What it asks for.
    pub amount: Money,
    /// What of it has come so far.
    pub paid: Money,
    /// What is still to come; nothing once it is paid or void.
    pub outstanding: Money,
    /// Money that the account keeps with us now and that no paid invoice has taken: it counts towards the open one.
    pub account_balance: Money,
    /// In which currency.
    #[schema(example = "USD")]
    pub currency: String,
    /// How it is to be paid.
    pub payment_method: PaymentMethod,
    /// Where the money goes, as printed on it.
    #[schema(value_type = Object)]
    pub bank_details: Value,
    /// Until when.
    pub due_at: DateTime<Utc>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// The plan, for decisions.
    #[serde(skip)]
    pub plan: PlanId,
}

/// A payment, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Payment {
    /// Its number.
    pub id: PaymentId,
    /// The bank's or provider's own reference.
    pub external_payment_id: String,
    /// How.
    pub payment_method: PaymentMethod,
    /// How it stands.
    pub status: PaymentStatus,
    /// The invoice that it pays.
    pub invoice_id: Option<InvoiceId>,
    /// How much.
    pub amount: Money,
    /// In which currency.
    pub currency: String,
    /// Who paid.
    pub payer_name: String,
    /// The day the money moved, as the bank says.
    pub paid_on: Option<NaiveDate>,
    /// When an admin confirmed it.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Why an admin rejected it, or took it back.
    pub reason: Option<String>,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
}

/// The bank's own reference of a transfer: 1 to 128 visible characters, blanks at the ends removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, example = "BT-TEST-001")]
pub struct ExternalPaymentId(pub String);

impl<'de> Deserialize<'de> for ExternalPaymentId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.trim().to_owned();
        let is_sane = !text.is_empty() && text.chars().count() <= 128 && !text.chars().any(char::is_control);
        if is_sane { Ok(ExternalPaymentId(text)) } else { Err(D::Error::custom("give the bank's reference, 1 to 128 characters")) }
    }
}

/// Which account a transfer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payee {
    /// By number.
    Account(AccountId),
    /// By word.
    Slug(String),
    /// By an invoice of it.
    Invoice(String),
    /// By an invoice's payment reference, as the customer typed it.
    Reference(String),
    /// By the address of one of its people.
    Email(String),
}

/// What an admin says of a transfer that he saw on the bank's statement.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// Whose it is.
    pub payee: Payee,
    /// The bank's reference.
    pub external_payment_id: String,
    /// How much.
    pub amount: Money,
    /// In which currency; unset: the invoice's.
    pub currency: Option<String>,
    /// Who paid.
    pub payer_name: String,
    /// What for; unset: the open invoice's plan, else the account's own.
    pub plan_slug: Option<String>,
    /// The day the money moved.
    pub paid_on: Option<NaiveDate>,
    /// For the file.
    pub note: Option<String>,
    /// What happens when it is another amount than what is outstanding.
    pub other_amount: OtherAmount,
    /// Whether anything is to be kept.
    pub run: Run,
}

/// What happens to a transfer of another amount than what is outstanding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherAmount {
    /// It is refused.
    Refused,
    /// It counts towards the invoice, which stays open until all has come.
    Counted,
    /// It is taken for the whole, for this reason: what is missing is let go.
    Accepted(String),
}

/// Whether an admin's order keeps what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It does.
    Real,
    /// Same checks, same answer, nothing written.
    Dry,
}

impl Run {
    /// What `dry_run` says; left out: a real one.
    pub fn of(dry_run: Option<bool>) -> Self {
        if dry_run == Some(true) { Run::Dry } else { Run::Real }
    }

    /// How a sentence begins that tells what was done, or would be.
    pub fn prefix(self) -> &'static str {
        if self == Run::Dry { "Dry run, nothing written: " } else { "" }
    }
}

/// What a confirmation did, before and after.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Confirmation {
    /// The account now.
    pub account: Account,
    /// The subscription now.
    pub subscription: Option<Subscription>,
    /// The invoice now; open while only a part has come.
    pub invoice: Invoice,
    /// The payment now.
    pub payment: Payment,
    /// The ledger's row of the grant; null for a plan without credits, and while only a part has come.
    pub transaction: Option<Transaction>,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether this transfer was confirmed before, and nothing happened now.
    pub already_confirmed: bool,
    /// Whether nothing was kept.
    pub dry_run: bool,
}

/// An admin's order, carried out: the answer's data, and one sentence that an admin can read in a terminal.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmed {
    /// `data` of the envelope.
    pub data: Value,
    /// The sentence.
    pub message: String,
}

impl Confirmed {
    /// What is kept with the payment for every repetition.
    pub fn value(&self) -> Value {
        serde_json::json!({"data": self.data, "message": self.message})
    }

    /// What was kept.
    pub fn of(mut kept: Value) -> Self {
        Confirmed { message: kept["message"].as_str().unwrap_or_default().to_owned(), data: kept["data"].take() }
    }
}

/// How an account stands after an admin's hand.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdminResult {
    /// Which account.
    pub account_id: AccountId,
    /// How it stands now.
    pub status: AccountStatus,
    /// Its plan's word, where that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Its credits, where they changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits: Option<Credits>,
    /// Each changed field with what it was and what it is.
    #[schema(value_type = Object)]
    pub changes: BTreeMap<&'static str, [Value; 2]>,
    /// Whether nothing was kept.
    pub dry_run: bool,
}
