//! What is owed, and whether a transfer pays it. No I/O.

use super::model::{Invoice, InvoiceStatus, OtherAmount, Payment, PaymentStatus, Transfer};
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

/// What a transfer does to the invoice that it pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing is outstanding any more; what came above it is kept.
    Whole,
    /// So much was missing and is let go.
    Waived(Money),
    /// More is to come.
    Part,
}

/// Whether a transfer pays what is outstanding of an invoice.
pub fn settles(transfer: &Transfer, outstanding: Money, currency: &str) -> Result<Settlement, Unpayable> {
    if let Some(given) = transfer.currency.as_ref().filter(|given| !given.eq_ignore_ascii_case(currency)) {
        return Err(Unpayable::CurrencyMismatch { expected: currency.to_owned(), given: given.clone() });
    }
    let missing = outstanding.less(transfer.amount);
    match &transfer.other_amount {
        _ if transfer.amount == outstanding => Ok(Settlement::Whole),
        OtherAmount::Refused => Err(Unpayable::AmountMismatch { expected: outstanding, given: transfer.amount }),
        OtherAmount::Counted | OtherAmount::Accepted(_) if missing.is_zero() => Ok(Settlement::Whole),
        OtherAmount::Counted => Ok(Settlement::Part),
        OtherAmount::Accepted(_) => Ok(Settlement::Waived(missing)),
    }
}

/// What of an invoice has come and what is still to come, given the money that the account keeps: an open invoice counts it
/// as its own.
pub fn paid_and_outstanding(status: InvoiceStatus, amount: Money, balance: Money) -> (Money, Money) {
    match status {
        InvoiceStatus::Open => (balance.min(amount), amount.less(balance)),
        InvoiceStatus::Paid => (amount, Money::ZERO),
        InvoiceStatus::Void => (Money::ZERO, Money::ZERO),
    }
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

/// The reference that somebody typed, as we wrote it, if its check digits fit: spacing, case, and the usual confusions of
/// letters and digits (O and 0, I, L and 1, S and 5, B and 8) are mended, for each place holds either a letter or a digit.
pub fn read_reference(typed: &str) -> Option<String> {
    let plain = typed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    let mended = plain.enumerate().map(|(place, c)| match place {
        0 | 1 | 4 | 5 => letter_meant(c),
        _ => digit_meant(c),
    });
    let mended = mended.collect::<String>();
    let (head, body) = mended.split_at_checked(4)?;
    (head.starts_with("RF") && body.starts_with("IG") && mod97(&format!("{body}{head}")) == 1).then_some(mended)
}

fn letter_meant(typed: char) -> char {
    match typed {
        '1' | 'L' => 'I',
        '6' => 'G',
        other => other,
    }
}

fn digit_meant(typed: char) -> char {
    match typed {
        'O' | 'Q' | 'D' => '0',
        'I' | 'L' => '1',
        'Z' => '2',
        'S' => '5',
        'B' => '8',
        other => other,
    }
}

/// The number that a text makes when A is 10 and Z is 35, modulo 97 (ISO 7064).
fn mod97(text: &str) -> u32 {
    text.chars()
        .filter_map(|c| c.to_digit(36))
        .fold(0, |rest, digit| if digit < 10 { (rest * 10 + digit) % 97 } else { (rest * 100 + digit) % 97 })
}

/// The account's open invoice, where it is for that plan.
pub fn invoice_for<'a>(plan: &Plan, open: Option<&'a Invoice>) -> Option<&'a Invoice> {
    open.filter(|invoice| invoice.plan == plan.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::billing::model::{Payee, Run};

    #[test]
    fn a_reference_survives_its_typing() {
        let reference = payment_reference(AccountId(29), "202611", 1);
        assert_eq!(reference.len(), 20);
        let spaced = format!("{} {}-{}", &reference[..4], &reference[4..9], &reference[9..]);
        let confused = reference.replace('0', "O").replace('1', "l");
        let letters = reference.replace("IG", "1g");
        for typed in [reference.clone(), reference.to_lowercase(), spaced, confused.to_lowercase(), confused, letters] {
            assert_eq!(read_reference(&typed).as_deref(), Some(reference.as_str()), "{typed}");
        }
        for nothing in ["", "RF", "RF12", "é", "INV-29-202611-0001", "RF18539007547034"] {
            assert_eq!(read_reference(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_reference_notices_every_single_wrong_digit() {
        let reference = payment_reference(AccountId(29), "202611", 1);
        let digits = (2..reference.len()).filter(|at| reference.as_bytes()[*at].is_ascii_digit());
        for at in digits {
            for wrong in ('0'..='9').filter(|wrong| reference.chars().nth(at) != Some(*wrong)) {
                let mut typed: Vec<char> = reference.chars().collect();
                typed[at] = wrong;
                assert_eq!(read_reference(&typed.into_iter().collect::<String>()), None, "position {at}, {wrong}");
            }
        }
    }

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    fn of(amount: &str, other_amount: OtherAmount) -> Transfer {
        Transfer {
            payee: Payee::Account(AccountId(29)),
            external_payment_id: "BT-1".to_owned(),
            amount: money(amount),
            currency: None,
            payer_name: "Ana".to_owned(),
            plan_slug: None,
            paid_on: None,
            note: None,
            other_amount,
            run: Run::Real,
        }
    }

    #[test]
    fn a_transfer_settles_by_its_amount_and_by_what_the_admin_says_of_another() {
        let accepted = || OtherAmount::Accepted("bank fees".to_owned());
        let settled = |amount, other| settles(&of(amount, other), money("89"), "USD");

        for other in [OtherAmount::Refused, OtherAmount::Counted, accepted()] {
            assert_eq!(settled("89.00", other), Ok(Settlement::Whole));
        }
        for amount in ["88.99", "89.01"] {
            assert_eq!(
                settled(amount, OtherAmount::Refused),
                Err(Unpayable::AmountMismatch { expected: money("89"), given: money(amount) })
            );
        }
        assert_eq!(
            (settled("40", OtherAmount::Counted), settled("90", OtherAmount::Counted)),
            (Ok(Settlement::Part), Ok(Settlement::Whole))
        );
        assert_eq!((settled("80", accepted()), settled("90", accepted())), (Ok(Settlement::Waived(money("9"))), Ok(Settlement::Whole)));
        let euros = Transfer { currency: Some("EUR".to_owned()), ..of("89", accepted()) };
        assert!(matches!(settles(&euros, money("89"), "USD"), Err(Unpayable::CurrencyMismatch { .. })));
    }

    #[test]
    fn an_open_invoice_counts_the_money_that_the_account_keeps() {
        let of_89 = |status, balance| paid_and_outstanding(status, money("89"), money(balance));

        assert_eq!(of_89(InvoiceStatus::Open, "0"), (money("0"), money("89")));
        assert_eq!(of_89(InvoiceStatus::Open, "40"), (money("40"), money("49")));
        assert_eq!(of_89(InvoiceStatus::Open, "100"), (money("89"), money("0")));
        assert_eq!(of_89(InvoiceStatus::Paid, "40"), (money("89"), money("0")));
        assert_eq!(of_89(InvoiceStatus::Void, "40"), (money("0"), money("0")));
    }
}
