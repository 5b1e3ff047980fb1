//! Prices and quotes.

use crate::{
    clock::Timestamp,
    credits::model::{Operation, Quantity, Unit},
    money::Credits,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::collections::HashMap;
use utoipa::ToSchema;

/// The price of an operation, and the one to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Credits per unit, until the next one applies.
    pub cost: i64,
    /// From when on another one applies, and which.
    pub next: Option<(Timestamp, i64)>,
}

/// The prices that were edited; the built-in ones serve for all others.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    /// Each that was edited.
    pub edited: HashMap<Operation, Price>,
    /// Of the rules that they are a part of: another one, once a price is edited.
    pub version: i64,
}

impl FromIterator<(Operation, Price)> for Prices {
    fn from_iter<T: IntoIterator<Item = (Operation, Price)>>(prices: T) -> Self {
        Prices { edited: prices.into_iter().collect(), version: 0 }
    }
}

/// What an operation costs.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct OperationCost {
    /// The operation.
    pub operation: Operation,
    /// What is counted.
    pub unit: Unit,
    /// Credits per unit.
    pub cost: Credits,
    /// What it will cost, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<NextCost>,
}

/// A price to come.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NextCost {
    /// Credits per unit.
    pub cost: Credits,
    /// The first instant at which it applies.
    pub effective_from: DateTime<Utc>,
}

/// A price that was set.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CostChange {
    /// The operation.
    pub operation: Operation,
    /// Credits per unit.
    pub cost: Credits,
    /// The first instant at which it applies.
    pub effective_from: DateTime<Utc>,
    /// Who set it.
    pub actor: String,
    /// When it was set.
    pub created_at: DateTime<Utc>,
}

/// A part of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobItem {
    /// What is to be done.
    pub operation: Operation,
    /// How many runs, ideas, words or images.
    pub quantity: Quantity,
}

/// A job of 1 to 50 parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Vec<JobItem>, min_items = 1, max_items = 50)]
pub struct Job(pub Vec<JobItem>);

impl Job {
    /// Parts of one job at the most.
    pub const ITEMS_MAX: usize = 50;
}

impl<'de> Deserialize<'de> for Job {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<JobItem>::deserialize(deserializer)?;
        if items.is_empty() || items.len() > Self::ITEMS_MAX {
            return Err(D::Error::custom(format!("send 1 to {} items", Self::ITEMS_MAX)));
        }
        Ok(Job(items))
    }
}

/// What a part of a job would cost.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct QuotedItem {
    /// What is to be done.
    pub operation: Operation,
    /// How many runs, ideas, words or images.
    pub quantity: Quantity,
    /// Credits per unit.
    pub unit_cost: Credits,
    /// Credits for all of it.
    pub cost: Credits,
    /// How many of the quantity can be paid for, when the parts are done in the order in which they were sent.
    pub affordable: i64,
    /// How many could be paid for if nothing else were done; null where it costs nothing.
    pub affordable_alone: Option<i64>,
}

/// What a job would cost, and how much of it can be paid for now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct JobQuote {
    /// Each part, in the order in which they were sent.
    pub items: Vec<QuotedItem>,
    /// Credits for the whole job.
    pub total: Credits,
    /// Credits that can be spent now.
    pub available: Credits,
    /// Whether they suffice for the whole job.
    pub sufficient: bool,
    /// How many times the whole job can be paid for; null where it costs nothing.
    pub affordable: Option<i64>,
}

/// Whether a job could be paid for now.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Quote {
    /// Credits that the job costs.
    pub cost: Credits,
    /// Credits that can be spent now.
    pub available: Credits,
    /// Whether they suffice.
    pub sufficient: bool,
}
