//! Pools, entries, operations.

use crate::money::Credits;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use utoipa::ToSchema;

crate::words! {
    /// What AI can be asked to do (requirements, section 1).
    pub enum Operation {
        /// Priced per run.
        Clustering = "clustering",
        /// Priced per idea.
        IdeaGeneration = "idea_generation",
        /// Priced per 100 words, rounded up.
        ContentGeneration = "content_generation",
        /// Priced per image.
        ImageGeneration = "image_generation",
        /// Priced per run.
        ImagePromptExtraction = "image_prompt_extraction",
    }
}

crate::words! {
    /// What an operation's price is counted by.
    pub enum Unit {
        /// Once per run.
        Run = "run",
        /// Each idea.
        Idea = "idea",
        /// Each hundred words begun.
        HundredWords = "100_words",
        /// Each image.
        Image = "image",
    }
}

crate::words! {
    /// Why an entry was made (contract, section 4).
    pub enum TransactionKind {
        /// The grant of a period.
        Subscription = "subscription",
        /// Extra credits, bought.
        Purchase = "purchase",
        /// Spent on an operation.
        Deduction = "deduction",
        /// Given back.
        Refund = "refund",
        /// Moved by staff, with a reason.
        Adjustment = "adjustment",
        /// Taken away when a period was over.
        Expiry = "expiry",
    }
}

/// Both pools of an account at one point of its ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pools {
    /// Reset every period; spent first.
    pub plan: Credits,
    /// Bought or granted; kept.
    pub extra: Credits,
    /// What open holds reserve of both.
    pub held: Credits,
    /// Number of the newest entry.
    pub last_seq: i64,
}

/// What the right to spend from an account rests on, as the database counts it. While both stand, whoever was let in may spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Counts on when the account changes, its users and their sessions, its sites and their keys.
    pub account: i64,
    /// Counts on when a plan or a price changes.
    pub rules: i64,
}

/// How many of an operation: 1 to 1,000,000 runs, ideas, words or images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 1, maximum = 1_000_000)]
pub struct Quantity(i64);

impl Quantity {
    /// The most that one request may ask for.
    pub const MAX: i64 = 1_000_000;

    /// Takes a count from 1 to [`Quantity::MAX`].
    pub fn new(count: i64) -> Option<Self> {
        (1..=Self::MAX).contains(&count).then_some(Quantity(count))
    }

    /// The count.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = i64::deserialize(deserializer)?;
        Quantity::new(count).ok_or_else(|| D::Error::custom(format!("give a whole number from 1 to {}", Quantity::MAX)))
    }
}

/// What a client wants to be kept as it is: a JSON object of at most 4 KiB and 200 values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Metadata(pub serde_json::Map<String, Value>);

impl Metadata {
    /// Its text at the most, in bytes.
    pub const BYTES_MAX: usize = 4_096;
    /// Its values at the most, those within others included. Postgres keeps up to 20 bytes beside each one's text.
    pub const VALUES_MAX: usize = 200;

    /// The object for the database.
    pub fn value(&self) -> Value {
        Value::Object(self.0.clone())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = serde_json::Map::deserialize(deserializer)?;
        let value = Value::Object(object);
        if value.to_string().len() > Self::BYTES_MAX || values_in(&value) > Self::VALUES_MAX {
            return Err(D::Error::custom(format!("send at most {} bytes and {} values", Self::BYTES_MAX, Self::VALUES_MAX)));
        }
        if has_nul(&value) {
            return Err(D::Error::custom("the character U+0000 can't be stored"));
        }
        match value {
            Value::Object(object) => Ok(Metadata(object)),
            _ => Err(D::Error::custom("send a JSON object")),
        }
    }
}

/// How many values a value is, those within it included.
pub fn values_in(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values_in).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(values_in).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 1,
    }
}

/// Whether a value holds U+0000: Postgres has it in no text, also not within JSON.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A spend that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Spend {
    /// What was done.
    pub operation: Operation,
    /// How many of it.
    pub quantity: Quantity,
    /// For the statement; empty: the operation's name serves.
    pub description: Option<String>,
    /// The client's own data.
    pub metadata: Metadata,
    /// The client's own word for it.
    pub reference: Option<String>,
    /// `user:7`, `site:3`.
    pub actor: String,
}

impl Spend {
    /// What stands on the statement: the client's own words, else the operation's name.
    pub fn description(&self) -> String {
        self.description.clone().unwrap_or_else(|| self.operation.as_str().replace('_', " "))
    }
}

/// An entry of the ledger, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Transaction {
    /// Its number within the account.
    pub id: i64,
    /// Why it was made.
    #[serde(rename = "type")]
    pub kind: TransactionKind,
    /// Signed: deductions are negative.
    pub amount: Credits,
    /// Both pools together after it.
    pub balance_after: Credits,
    /// What was done with AI; null unless a deduction.
    pub operation: Option<Operation>,
    /// How many of it.
    pub quantity: Option<i64>,
    /// For people.
    pub description: String,
    /// The client's own data.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// The client's own word for it.
    pub reference: Option<String>,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// What an account has to spend.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Balance {
    /// Both pools together.
    pub credits: Credits,
    /// Reserved by holds that are open.
    pub held: Credits,
    /// What a deduction can take now.
    pub available: Credits,
    /// Reset every period; spent first.
    pub plan_credits: Credits,
    /// Kept.
    pub extra_credits: Credits,
    /// What each period brings.
    pub credits_per_month: Credits,
    /// When the period ends.
    pub resets_at: Option<DateTime<Utc>>,
}

/// What became of a grant that was taken back.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TakenBack {
    /// What was granted.
    pub granted: Credits,
    /// What was left of it and is gone.
    pub taken_back: Credits,
    /// What was spent of it and stays spent.
    pub spent: Credits,
    /// What had expired for the grant and is back.
    pub given_back: Credits,
}
