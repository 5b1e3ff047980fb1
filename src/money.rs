//! Money is exact decimal with two places; credits are whole numbers. Neither is ever a float (requirements, section 1).

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};
use utoipa::{PartialSchema, ToSchema};

/// An amount with exactly two decimal places, from 0 to 9,999,999,999.99; `"89.00"` in JSON.
///
/// The currency stands beside it where there is more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(Decimal);

/// The largest amount that `numeric(12,2)` holds.
const MONEY_MAX: Decimal = Decimal::from_parts(0xD4A5_0FFF, 0xE8, 0, false, 2);

/// Why a text is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal number.
    #[error("give an amount such as \"89.00\"")]
    Malformed,
    /// A fraction of a cent would be lost.
    #[error("give at most two decimal places")]
    TooPrecise,
    /// Negative, or more than the database holds.
    #[error("give an amount from 0 to {MONEY_MAX}")]
    OutOfRange,
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(Decimal::from_parts(0, 0, 0, false, 2));

    /// Takes a decimal that has no more than two significant places.
    pub fn from_decimal(amount: Decimal) -> Result<Self, MoneyError> {
        if amount.is_sign_negative() && !amount.is_zero() || amount > MONEY_MAX {
            return Err(MoneyError::OutOfRange);
        }
        let mut exact = amount.normalize();
        if exact.scale() > 2 {
            return Err(MoneyError::TooPrecise);
        }
        exact.rescale(2);
        Ok(Money(exact))
    }

    /// The amount for the database.
    pub fn decimal(self) -> Decimal {
        self.0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The sum, or an error where it is more than the database holds.
    pub fn plus(self, other: Money) -> Result<Self, MoneyError> {
        Self::from_decimal(self.0.checked_add(other.0).ok_or(MoneyError::OutOfRange)?)
    }

    /// The difference, or an error where it would be negative.
    pub fn minus(self, other: Money) -> Result<Self, MoneyError> {
        Self::from_decimal(self.0.checked_sub(other.0).ok_or(MoneyError::OutOfRange)?)
    }

    /// The difference, or nothing where it would be negative.
    pub fn less(self, other: Money) -> Self {
        self.minus(other).unwrap_or(Self::ZERO)
    }
}

impl FromStr for Money {
    type Err = MoneyError;

    /// Reads plain digits with an optional fraction: no sign, exponent, blank or thousands separator.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if let Some(rest) = text.strip_prefix('-') {
            return Err(if digits(rest.split('.').next().unwrap_or("")) { MoneyError::OutOfRange } else { MoneyError::Malformed });
        }
        if !digits(whole) || !digits(fraction) {
            return Err(MoneyError::Malformed);
        }
        if fraction.trim_end_matches('0').len() > 2 {
            return Err(MoneyError::TooPrecise);
        }
        let shortened = format!("{whole}.{}", fraction.chars().take(2).collect::<String>());
        Self::from_decimal(Decimal::from_str_exact(&shortened).map_err(|_| MoneyError::OutOfRange)?)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Money {
    /// Takes a JSON string or a JSON number, the number by its digits and not through a float.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar_text(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl PartialSchema for Money {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[0-9]+(\\.[0-9]{1,2})?$"))
            .description(Some("An exact decimal amount; a JSON number is accepted too."))
            .examples([serde_json::json!("89.00")])
            .into()
    }
}

impl ToSchema for Money {
    fn name() -> Cow<'static, str> {
        "Money".into()
    }
}

/// A count of credits: whole, and at most [`Credits::MAX`] in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct Credits(i64);

/// A count of credits outside its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("credits must be whole and between {} and {}", 1, Credits::MAX.get())]
pub struct CreditsOutOfRange;

impl Credits {
    /// None.
    pub const ZERO: Credits = Credits(0);
    /// One trillion: the most that an account can hold or a row can move.
    pub const MAX: Credits = Credits(1_000_000_000_000);

    /// Takes a count that a row can carry, negative ones included.
    pub fn new(count: i64) -> Result<Self, CreditsOutOfRange> {
        if (-Self::MAX.0..=Self::MAX.0).contains(&count) { Ok(Credits(count)) } else { Err(CreditsOutOfRange) }
    }

    /// Takes a count from 1 to [`Credits::MAX`].
    pub fn positive(count: i64) -> Result<Self, CreditsOutOfRange> {
        if count > 0 { Self::new(count) } else { Err(CreditsOutOfRange) }
    }

    /// The count for the database and for arithmetic at the edges.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The sum, or an error where it would leave the limits.
    pub fn plus(self, other: Credits) -> Result<Self, CreditsOutOfRange> {
        Self::new(self.0.checked_add(other.0).ok_or(CreditsOutOfRange)?)
    }

    /// The difference, or an error where it would leave the limits; may be negative.
    pub fn minus(self, other: Credits) -> Result<Self, CreditsOutOfRange> {
        Self::new(self.0.checked_sub(other.0).ok_or(CreditsOutOfRange)?)
    }

    /// The same count with the other sign.
    pub fn negated(self) -> Self {
        Credits(-self.0)
    }
}

impl fmt::Display for Credits {
    /// With thousands separators, as people read it: `1,000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs().to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
        if self.0 < 0 {
            text.push('-');
        }
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// The text of a JSON string or number, digit by digit: `89.10` stays `89.10`.
fn scalar_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
    let text = raw.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).map_err(D::Error::custom);
    }
    if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
        return Ok(text.to_owned());
    }
    Err(D::Error::custom("expected a string or a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_strings_and_numbers_exactly() {
        for (input, output) in [
            ("\"89.00\"", "89.00"),
            ("89", "89.00"),
            ("89.1", "89.10"),
            ("0.1", "0.10"),
            ("9999999999.99", "9999999999.99"),
            ("\"89.1000\"", "89.10"),
        ] {
            let money: Money = serde_json::from_str(input).unwrap();
            assert_eq!(money.to_string(), output, "{input}");
        }
    }

    #[test]
    fn money_refuses_what_it_can_not_hold_exactly() {
        for input in [
            "\"89.001\"",
            "89.000000000000000001",
            "-1",
            "\"-0.01\"",
            "10000000000",
            "1e2",
            "\"\"",
            "\"1,000\"",
            "null",
            "true",
            "\" 1\"",
            "\"NaN\"",
            "[1]",
        ] {
            assert!(serde_json::from_str::<Money>(input).is_err(), "{input}");
        }
        assert_eq!(serde_json::to_string(&Money::ZERO).unwrap(), "\"0.00\"");
    }

    #[test]
    fn money_is_added_exactly_and_never_goes_below_nothing_or_past_the_database() {
        let money = |text: &str| text.parse::<Money>().unwrap();
        assert_eq!(money("0.10").plus(money("0.20")), Ok(money("0.30")));
        assert_eq!(money("89.00").minus(money("88.99")), Ok(money("0.01")));
        assert_eq!((money("1").minus(money("2")), money("1").less(money("2"))), (Err(MoneyError::OutOfRange), Money::ZERO));
        assert_eq!(money("9999999999.99").plus(money("0.01")), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn credits_are_shown_with_separators_and_never_overflow() {
        assert_eq!(Credits(1_234_567).to_string(), "1,234,567");
        assert_eq!(Credits(-100).to_string(), "-100");
        assert_eq!(Credits::MAX.plus(Credits(1)), Err(CreditsOutOfRange));
        assert_eq!(Credits::positive(0), Err(CreditsOutOfRange));
    }
}
