//! Statements, their lines, and what a line may be.

use crate::{
    billing::model::Run,
    ids::{AccountId, PaymentId, StatementId},
    money::Money,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

crate::words! {
    /// How a statement is written.
    pub enum StatementFormat {
        /// Rows of columns.
        Csv = "csv",
        /// ISO 20022, as XML.
        Camt053 = "camt053",
        /// SWIFT's text.
        Mt940 = "mt940",
    }
}

crate::words! {
    /// Which way money went.
    pub enum Direction {
        /// It came.
        In = "in",
        /// It left.
        Out = "out",
    }
}

crate::words! {
    /// How sure it is whose money a line is.
    pub enum Certainty {
        /// Payment reference and amount.
        Sure = "sure",
        /// A reference with one typing error or of another amount; or amount and payer.
        Likely = "likely",
        /// Nothing fits, several do, or it left.
        None = "none",
    }
}

/// A line as the file says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLine {
    /// The day the bank booked it.
    pub booked_on: NaiveDate,
    /// Without sign.
    pub amount: Money,
    /// The sign.
    pub direction: Direction,
    /// Three letters.
    pub currency: String,
    /// Who paid; may be empty.
    pub payer_name: String,
    /// What he wrote.
    pub remittance: String,
    /// The bank's own reference; may be empty.
    pub bank_reference: String,
}

/// What is wrong with a file, and where. Nothing of it was staged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {column}: {what}")]
pub struct StatementFault {
    /// From 1.
    pub line: usize,
    /// The column's name, or its number from 1.
    pub column: String,
    /// What to do about it.
    pub what: String,
}

impl StatementFault {
    /// At a line and a column.
    pub fn at(line: usize, column: impl ToString, what: impl Into<String>) -> Self {
        StatementFault { line, column: column.to_string(), what: what.into() }
    }

    /// At a byte of a text.
    pub fn at_byte(text: &str, byte: usize, what: impl Into<String>) -> Self {
        let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Self::at(line, column, what)
    }
}

/// A staged line, as staff see it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatementLine {
    /// 1, 2, 3 … in the order of the file.
    pub line: i32,
    /// The day the bank booked it.
    pub booked_on: NaiveDate,
    /// Without sign.
    pub amount: Money,
    /// Which way it went.
    pub direction: Direction,
    /// In which currency.
    pub currency: String,
    /// Who paid.
    pub payer_name: String,
    /// What he wrote.
    pub remittance: String,
    /// The bank's own reference, or one made of the line.
    pub external_payment_id: String,
    /// When it became a payment.
    pub applied_at: Option<DateTime<Utc>>,
    /// Which payment.
    pub payment_id: Option<PaymentId>,
    /// Whose money it may be.
    pub r#match: Match,
}

/// Whose money a line may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Match {
    /// How sure that is.
    pub certainty: Certainty,
    /// Why, in a few words.
    pub why: &'static str,
    /// The account.
    pub account_id: Option<AccountId>,
    /// The account's word.
    pub account_slug: Option<String>,
    /// The open invoice.
    pub invoice_number: Option<String>,
    /// What of it is still to come.
    pub outstanding: Option<Money>,
}

/// A statement in the list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatementSummary {
    /// Its number.
    pub id: StatementId,
    /// How it is written.
    pub format: StatementFormat,
    /// Lines that were staged.
    pub lines: i64,
    /// Lines of the file that another statement had staged before.
    pub known_lines: i32,
    /// Staged lines that became payments.
    pub applied: i64,
    /// Who read it in.
    pub actor: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// A statement with a page of its lines.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Statement {
    /// As in the list.
    #[serde(flatten)]
    pub summary: StatementSummary,
    /// Staged lines after `after_line`, at most a hundred.
    pub staged: Vec<StatementLine>,
    /// The last line of the page, where more follow: the next one's `after_line`.
    pub next_line: Option<i32>,
    /// Whether this very file was read in before, and nothing was staged now.
    pub already_imported: bool,
}

crate::words! {
    /// What became of a line.
    pub enum LineOutcome {
        /// It is a payment now.
        Applied = "applied",
        /// It was one before.
        AlreadyApplied = "already_applied",
        /// It is not; see `error`.
        Refused = "refused",
    }
}

/// A line that is to become a payment.
#[derive(Clone, Copy, Debug)]
pub struct LineWish {
    /// Of which statement.
    pub statement: StatementId,
    /// Its number.
    pub line: i32,
    /// How sure it must be whose money it is, when it is applied: [`Certainty::Sure`], or else likely is enough.
    pub least: Certainty,
    /// Whether anything is to be kept.
    pub run: Run,
}

/// What became of one line that was to be applied.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LineResult {
    /// Which.
    pub line: i32,
    /// What became of it.
    pub outcome: LineOutcome,
    /// One sentence for people.
    pub message: String,
    /// A word for programs, where it was refused.
    pub code: Option<String>,
    /// What a confirmation answers, where it was applied now.
    #[schema(value_type = Option<Object>)]
    pub confirmation: Option<Value>,
}

/// An open invoice that a line may be for.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Whose.
    pub account: AccountId,
    /// The account's word.
    pub slug: String,
    /// Its number.
    pub number: String,
    /// What the customer was to write.
    pub reference: String,
    /// In which currency.
    pub currency: String,
    /// What is still to come.
    pub outstanding: Money,
    /// The account's and its people's names.
    pub names: Vec<String>,
}
