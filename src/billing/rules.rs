//! What is owed, and whether a transfer pays it. No I/O.

use super::model::{Invoice, Payment, PaymentStatus, Transfer};
use crate::{
    ids::AccountId,
    money::Money,
    plans::model::{Assignment, Plan},
};

/// Why a transfer or an upgrade can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unpayable {
    /// A developer assigns it by hand (A3).
    #[error("the enterprise plan is assigned by hand only")]
    Manual,
    /// It costs nothing, and money can't buy it: a transfer names enterprise.
    #[error("the enterprise plan can't be paid for")]
    ManualByTransfer,
    /// It costs nothing.
    #[error("the plan costs nothing")]
    Free,
    /// It is no longer offered.
    #[error("the plan is not offered")]
    Inactive,
    /// No plan was named, none is invoiced, and the account has no paid one.
    #[error("there is nothing to pay for")]
    NoPlan,
    /// Another amount is owed.
    #[error("{expected} is owed and {given} was given")]
    AmountMismatch {
        /// What is owed.
        expected: Money,
        /// What was given.
        given: Money,
    },
    /// Another currency is owed.
    #[error("{expected} is owed and {given} was given")]
    CurrencyMismatch {
        /// The invoice's.
        expected: String,
        /// The transfer's.
        given: String,
    },
    /// The reference was confirmed before with other content.
    #[error("the reference was confirmed with other content")]
    Conflict,
}

/// Whether payment may assign the plan (A3, A4).
pub fn payable(plan: &Plan) -> Result<(), Unpayable> {
    match plan.assignment {
        Assignment::Manual => Err(Unpayable::Manual),
        Assignment::Signup => Err(Unpayable::Free),
        Assignment::Payment if !plan.is_active => Err(Unpayable::Inactive),
        Assignment::Payment => Ok(()),
    }
}

/// Whether a transfer can be for the plan: like [`payable`], but a plan without price is a business error whoever assigns it
/// (contract, section 5).
pub fn payable_by_transfer(plan: &Plan) -> Result<(), Unpayable> {
    payable(plan).map_err(|reason| if reason == Unpayable::Manual { Unpayable::ManualByTransfer } else { reason })
}

/// Whether a transfer pays what is owed: the open invoice's amount, else the plan's price.
pub fn settles(transfer: &Transfer, owed: Money, currency: &str) -> Result<(), Unpayable> {
    if let Some(given) = transfer.currency.as_ref().filter(|given| !given.eq_ignore_ascii_case(currency)) {
        return Err(Unpayable::CurrencyMismatch { expected: currency.to_owned(), given: given.clone() });
    }
    if transfer.amount != owed && transfer.mismatch_accepted_because.is_none() {
        return Err(Unpayable::AmountMismatch { expected: owed, given: transfer.amount });
    }
    Ok(())
}

/// A payment that was confirmed before, with the plan it paid for.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// Whose it was.
    pub account: AccountId,
    /// The payment.
    pub payment: Payment,
    /// The plan's word.
    pub plan_slug: Option<String>,
}

/// Whether the same transfer is confirmed again with the same content (G). What the second message leaves out is the same.
pub fn is_same(earlier: &Earlier, account: AccountId, transfer: &Transfer) -> Result<(), Unpayable> {
    let payment = &earlier.payment;
    let given = |plan: &String| earlier.plan_slug.as_ref() == Some(plan);
    let is_same = earlier.account == account
        && payment.status == PaymentStatus::Confirmed
        && payment.amount == transfer.amount
        && payment.payer_name == transfer.payer_name
        && transfer.currency.as_ref().is_none_or(|currency| currency.eq_ignore_ascii_case(&payment.currency))
        && transfer.paid_on.is_none_or(|day| payment.paid_on == Some(day))
        && transfer.plan_slug.as_ref().is_none_or(given);
    if is_same { Ok(()) } else { Err(Unpayable::Conflict) }
}

/// The invoice's number: `INV-{account}-{yyyymm}-{0001}`.
pub fn invoice_number(account: AccountId, month: &str, number: i32) -> String {
    format!("INV-{account}-{month}-{number:04}")
}

/// What the customer writes on the transfer: a creditor reference with check digits (ISO 11649), so that one wrong
/// character is noticed. `RF` + check digits + `IG` + account + year, month and number of the invoice.
pub fn payment_reference(account: AccountId, month: &str, number: i32) -> String {
    let body = format!("IG{account:06}{}{number:04}", month.get(2..).unwrap_or(month));
    let check = 98 - mod97(&format!("{body}RF00"));
    format!("RF{check:02}{body}")
}

/// Whether a reference's check digits fit, however it was spaced or cased.
pub fn reference_is_sound(reference: &str) -> bool {
    let plain: String = reference.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect();
    plain.starts_with("RF") && plain.len() > 4 && plain.split_at_checked(4).is_some_and(|(head, body)| mod97(&format!("{body}{head}")) == 1)
}

/// The number that a text makes when A is 10 and Z is 35, modulo 97 (ISO 7064).
fn mod97(text: &str) -> u32 {
    text.chars()
        .filter_map(|c| c.to_digit(36))
        .fold(0, |rest, digit| if digit < 10 { (rest * 10 + digit) % 97 } else { (rest * 100 + digit) % 97 })
}

/// What is owed for a plan, given the account's open invoice: the invoice's amount when it is for that plan.
pub fn owed<'a>(plan: &Plan, open: Option<&'a Invoice>) -> (Money, Option<&'a Invoice>) {
    match open.filter(|invoice| invoice.plan == plan.id) {
        Some(invoice) => (invoice.amount, Some(invoice)),
        None => (plan.price, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_notices_every_single_wrong_character() {
        let reference = payment_reference(AccountId(29), "202611", 1);
        assert_eq!(reference.len(), 20);
        assert!(reference_is_sound(&reference) && reference_is_sound(&reference.to_lowercase()));
        assert!(reference_is_sound(&format!("{} {}", &reference[..4], &reference[4..])));
        for at in 2..reference.len() {
            // A letter read as another letter, a digit as another digit; the two classes are hardly ever mistaken.
            for wrong in ['0', '1', '7', 'A', 'X'] {
                let mut typed: Vec<char> = reference.chars().collect();
                if typed[at] != wrong && typed[at].is_ascii_digit() == wrong.is_ascii_digit() {
                    typed[at] = wrong;
                    assert!(!reference_is_sound(&typed.into_iter().collect::<String>()), "position {at}, {wrong}");
                }
            }
        }
    }

    #[test]
    fn the_iso_example_is_sound() {
        assert!(reference_is_sound("RF18 5390 0754 7034"));
        assert!(!reference_is_sound("RF18 5390 0754 7035"));
    }
}
