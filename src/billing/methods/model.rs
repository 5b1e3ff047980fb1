//! Ways to pay.

use crate::ids::PaymentMethod;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A way to pay that is on offer, as a customer of one country sees it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PaymentOption {
    /// Its word.
    pub method: PaymentMethod,
    /// Its name.
    pub name: String,
    /// Where the money goes.
    #[schema(value_type = Object)]
    pub details: Value,
    /// What to do.
    pub instructions: String,
}

/// A way to pay, as a developer sees it: with what serves everybody, and what serves single countries.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct MethodSettings {
    /// Its word.
    pub method: PaymentMethod,
    /// Its name.
    pub name: String,
    /// Where the money of countries without details of their own goes.
    #[schema(value_type = Object)]
    pub details: Value,
    /// What its customers are to do.
    pub instructions: String,
    /// Whether it is on offer.
    pub is_active: bool,
    /// What serves single countries, by their codes.
    pub countries: Vec<CountryDetails>,
}

/// Where the money of one country's customers goes.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CountryDetails {
    /// ISO 3166-1 alpha-2, or EU for every country whose money is the euro.
    #[schema(example = "GB")]
    pub country: String,
    /// Where the money goes.
    #[schema(value_type = Object)]
    pub details: Value,
    /// What to do.
    pub instructions: String,
}
