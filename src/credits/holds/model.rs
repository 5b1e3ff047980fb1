//! A hold, what is asked of it, and what is answered.

use crate::{
    credits::model::{Metadata, Operation, Quantity, Spend, Transaction},
    money::Credits,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use std::collections::HashMap;
use utoipa::ToSchema;

crate::words! {
    /// What became of a hold.
    pub enum HoldStatus {
        /// It reserves its amount.
        Open = "open",
        /// What was done of it was paid; the rest was let go.
        Captured = "captured",
        /// Let go.
        Released = "released",
        /// Nobody settled it in time.
        Expired = "expired",
        /// The credits behind it were gone: a reset, an expiry or a reversal took them.
        Displaced = "displaced",
    }
}

/// Credits that are reserved for a job, or were.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Hold {
    /// Its number within the account.
    pub id: i64,
    /// What became of it.
    pub status: HoldStatus,
    /// Credits reserved.
    pub amount: Credits,
    /// What is to be done.
    pub operation: Operation,
    /// How many of it at the most.
    pub quantity: Quantity,
    /// Credits per unit when it was placed; a capture pays this price.
    pub unit_cost: Credits,
    /// For people.
    pub description: String,
    /// The client's own data.
    pub metadata: Metadata,
    /// The client's own word for it.
    pub reference: Option<String>,
    /// Who placed it: `user:7`, `site:3`.
    #[serde(skip)]
    pub actor: String,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// The first instant at which it reserves nothing any more.
    pub expires_at: DateTime<Utc>,
    /// When it was captured, released or displaced, or expired; null while it is open.
    pub settled_at: Option<DateTime<Utc>>,
    /// How many were done and paid; null unless captured.
    pub captured_quantity: Option<i64>,
    /// The ledger's entry that paid; null unless captured.
    pub transaction_id: Option<i64>,
}

/// How long a hold lasts: 1 second to a day; 15 minutes where nothing is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = i64, minimum = 1, maximum = 86_400)]
pub struct HoldSeconds(i64);

impl HoldSeconds {
    /// Where nothing is asked (contract, section 4).
    pub const DEFAULT: HoldSeconds = HoldSeconds(900);
    /// The most that can be asked for.
    pub const MAX: i64 = 86_400;

    /// Takes a count from 1 to [`HoldSeconds::MAX`].
    pub fn new(seconds: i64) -> Option<Self> {
        (1..=Self::MAX).contains(&seconds).then_some(HoldSeconds(seconds))
    }

    /// The count.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for HoldSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = i64::deserialize(deserializer)?;
        HoldSeconds::new(seconds).ok_or_else(|| D::Error::custom(format!("give a whole number from 1 to {}", HoldSeconds::MAX)))
    }
}

/// Which holds somebody may settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of the account: a person's.
    Account,
    /// Those that he placed himself: a site's.
    Own,
}

/// Something that is asked of a hold.
#[derive(Clone, Debug)]
pub enum HoldWork {
    /// Reserve what this would cost.
    Place {
        /// What is to be done, and by whom.
        spend: Spend,
        /// For how long.
        lasts: HoldSeconds,
    },
    /// Pay what was done, and let the rest go.
    Capture {
        /// Which one.
        hold: Named,
        /// How many were done; none: all.
        quantity: Option<Quantity>,
    },
    /// Let it go.
    Release {
        /// Which one.
        hold: Named,
    },
}

/// A hold that somebody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its number within the account.
    pub id: i64,
    /// Who names it.
    pub actor: String,
    /// Which ones he may settle.
    pub reach: Reach,
}

/// What placing or releasing a hold did.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Held {
    /// The hold.
    pub hold: Hold,
    /// What a deduction or another hold can take now.
    pub available: Credits,
}

/// What a capture did.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Captured {
    /// The hold.
    pub hold: Hold,
    /// The entry that paid.
    pub transaction: Transaction,
    /// Both pools together after it.
    pub balance: Credits,
    /// What a deduction or another hold can take now.
    pub available: Credits,
}

/// What is known of an account's holds while its balance is locked.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// The newest hold's number; 0 where there is none.
    pub last_seq: i64,
    /// How many are open.
    pub open: i64,
    /// Those that somebody names, by their number.
    pub named: HashMap<i64, Hold>,
}
