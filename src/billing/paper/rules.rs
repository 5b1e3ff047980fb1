//! What stands on a paper. No I/O.

use super::{
    model::{Buyer, Paper, Seller, Stamp},
    raast,
};
use crate::{
    billing::model::{Invoice, InvoiceStatus},
    clock::Timestamp,
};
use serde_json::Value;

/// Characters of a line at the most; what is longer goes on in the next one.
const LINE_CHARS_MAX: usize = 36;
/// Lines of an address at the most …
const ADDRESS_LINES_MAX: usize = 9;
/// … and of one of its members, so that none pushes the others off the paper.
const MEMBER_LINES_MAX: usize = 2;
/// Bank details at the most.
const BANK_LINES_MAX: usize = 10;
/// The order in which an address is read; what else it has comes after.
const ADDRESS_ORDER: [&str; 12] =
    ["company", "name", "line1", "line2", "street", "address", "postal_code", "zip", "city", "state", "country", "tax_id"];
/// The order in which bank details are read; what else there is comes after.
const BANK_ORDER: [&str; 8] = ["bank_name", "account_title", "account_number", "sort_code", "routing_number", "iban", "swift", "branch"];

/// Puts a paper together: a receipt once the invoice is paid.
pub fn paper(invoice: &Invoice, buyer: &Buyer, seller: &Seller) -> Paper {
    let amount = |money: &crate::money::Money| format!("{money} {}", invoice.currency);
    let is_open = invoice.status == InvoiceStatus::Open;
    let mut facts = vec![
        ("Number".to_owned(), invoice.number.clone()),
        ("Date".to_owned(), day(invoice.created_at)),
        ("Due".to_owned(), day(invoice.due_at)),
    ];
    facts.extend(invoice.paid_at.map(|paid_at| ("Paid".to_owned(), day(paid_at))));
    facts.push(("Reference".to_owned(), invoice.reference.clone()));
    let bank = if is_open { bank(invoice) } else { Vec::new() };
    Paper {
        number: invoice.number.clone(),
        title: if invoice.status == InvoiceStatus::Paid { "Receipt" } else { "Invoice" },
        stamp: match invoice.status {
            InvoiceStatus::Open => None,
            InvoiceStatus::Paid => Some(Stamp::Paid),
            InvoiceStatus::Void => Some(Stamp::Void),
        },
        seller: seller_lines(seller),
        buyer: buyer_lines(buyer),
        facts,
        line: (invoice.description.clone(), amount(&invoice.amount)),
        sums: vec![("Total", amount(&invoice.amount)), ("Paid", amount(&invoice.paid)), ("Outstanding", amount(&invoice.outstanding))],
        bank,
        qr: if is_open { scanned(invoice) } else { None },
        written_at: invoice.created_at,
    }
}

/// What a banking app scans, for currencies that have such a code and an IBAN to send them to.
pub fn scanned(invoice: &Invoice) -> Option<String> {
    match invoice.currency.as_str() {
        "EUR" => epc(invoice),
        "PKR" => raast::rules::code(detail(invoice, "iban")?, invoice.outstanding, invoice.due_at),
        _ => None,
    }
}

/// What a European banking app scans (EPC069-12, version 002).
fn epc(invoice: &Invoice) -> Option<String> {
    let iban = detail(invoice, "iban")?.replace(' ', "");
    let name = detail(invoice, "account_title")?.chars().take(70).collect::<String>();
    let bic = detail(invoice, "swift").unwrap_or("");
    let is_payable = !invoice.outstanding.is_zero();
    is_payable.then(|| format!("BCD\n002\n1\nSCT\n{bic}\n{name}\n{iban}\nEUR{}\n\n{}", invoice.outstanding, invoice.reference))
}

/// One of the bank details, where it is there.
fn detail<'a>(invoice: &'a Invoice, name: &str) -> Option<&'a str> {
    invoice.bank_details.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

fn day(at: Timestamp) -> String {
    at.format("%Y-%m-%d").to_string()
}

fn seller_lines(seller: &Seller) -> Vec<String> {
    let tax = seller.tax_id.as_ref().map(|tax_id| format!("Tax ID: {tax_id}"));
    let lines = std::iter::once(seller.name.clone()).chain(seller.address.iter().cloned()).chain(tax);
    lines.flat_map(|line| wrapped(&line).into_iter().take(MEMBER_LINES_MAX)).take(ADDRESS_LINES_MAX).collect()
}

fn buyer_lines(buyer: &Buyer) -> Vec<String> {
    let address = in_order(&buyer.address, &ADDRESS_ORDER).into_iter().map(|(_, text)| text);
    let lines = std::iter::once(buyer.name.clone()).chain(address).chain(buyer.email.clone());
    lines.flat_map(|line| wrapped(&line).into_iter().take(MEMBER_LINES_MAX)).take(ADDRESS_LINES_MAX).collect()
}

fn bank(invoice: &Invoice) -> Vec<(String, String)> {
    let details = in_order(&invoice.bank_details, &BANK_ORDER).into_iter().take(BANK_LINES_MAX);
    let shown = details.map(|(name, text)| (label(&name), wrapped(&text).into_iter().next().unwrap_or_default()));
    let amount = ("Amount".to_owned(), format!("{} {}", invoice.outstanding, invoice.currency));
    shown.chain([amount, ("Reference".to_owned(), invoice.reference.clone())]).collect()
}

/// An object's texts and numbers, the known ones first.
fn in_order(object: &Value, order: &[&str]) -> Vec<(String, String)> {
    let known = order.iter().filter_map(|name| object.get(*name).map(|value| ((*name).to_owned(), value)));
    let members = object.as_object().into_iter().flatten();
    let others = members.filter(|(name, _)| !order.contains(&name.as_str())).map(|(name, value)| (name.clone(), value));
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    known.chain(others).filter_map(|(name, value)| Some((name, text(value)?))).collect()
}

/// `account_title` as people read it: "Account title"; IBAN and SWIFT as everybody writes them.
fn label(name: &str) -> String {
    match name {
        "iban" => "IBAN".to_owned(),
        "swift" => "SWIFT/BIC".to_owned(),
        other => {
            let words = other.replace('_', " ");
            let mut letters = words.chars();
            letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
        }
    }
}

/// A text in lines of at most [`LINE_CHARS_MAX`] characters, broken between words where there are any.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut rest = word.chars().collect::<Vec<_>>();
        while !rest.is_empty() {
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            let room = LINE_CHARS_MAX.saturating_sub(used + gap);
            if rest.len() > room && (used > 0 || room == 0) {
                lines.push(std::mem::take(&mut line));
                continue;
            }
            let now = rest.drain(..rest.len().min(room)).collect::<String>();
            line.push_str(if gap == 1 { " " } else { "" });
            line.push_str(&now);
        }
    }
    lines.push(line);
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        billing::model::InvoicePurpose,
        ids::{InvoiceId, PaymentMethod, PlanId},
        money::Money,
    };
    use serde_json::json;

    fn invoice(currency: &str) -> Invoice {
        let at = Timestamp::from_timestamp_micros(1_772_323_200_000_000).unwrap();
        Invoice {
            id: InvoiceId(1),
            number: "INV-29-202603-0001".to_owned(),
            reference: "RF27IG00002926030001".to_owned(),
            status: InvoiceStatus::Open,
            purpose: InvoicePurpose::Upgrade,
            plan_slug: "starter".to_owned(),
            description: "Starter plan, 30 days".to_owned(),
            amount: "89".parse().unwrap(),
            paid: Money::ZERO,
            outstanding: "49".parse().unwrap(),
            account_balance: "40".parse().unwrap(),
            currency: currency.to_owned(),
            payment_method: PaymentMethod::BankTransfer,
            bank_details: json!({"iban": "XX00 EXAM 0004", "swift": "EXAMXX00", "account_title": "IGNY8", "zone": "7"}),
            due_at: at,
            paid_at: None,
            created_at: at,
            plan: PlanId(3),
        }
    }

    #[test]
    fn a_banking_app_scans_what_is_outstanding_in_euros_or_rupees_and_nothing_else() {
        let rupees = Invoice { bank_details: json!({"iban": "PK33 ABCD 0000 0000 0000 0000"}), ..invoice("PKR") };

        let euros = scanned(&invoice("EUR")).unwrap();

        assert!(scanned(&rupees).unwrap().starts_with("0002020102120202000424PK33ABCD0000000000000000050249"));
        assert_eq!(scanned(&invoice("PKR")), None, "an IBAN that is none of Pakistan's");
        assert_eq!(euros, "BCD\n002\n1\nSCT\nEXAMXX00\nIGNY8\nXX00EXAM0004\nEUR49.00\n\nRF27IG00002926030001");
        assert_eq!(scanned(&invoice("USD")), None);
        for currency in ["EUR", "PKR"] {
            assert_eq!(scanned(&Invoice { bank_details: json!({}), ..invoice(currency) }), None);
            assert_eq!(
                scanned(&Invoice { outstanding: Money::ZERO, bank_details: rupees.bank_details.clone(), ..invoice(currency) }),
                None
            );
        }
    }

    #[test]
    fn details_are_read_in_the_usual_order_and_others_after_them() {
        let labels = bank(&invoice("USD")).into_iter().map(|(label, _)| label).collect::<Vec<_>>();

        assert_eq!(labels, ["Account title", "IBAN", "SWIFT/BIC", "Zone", "Amount", "Reference"]);
    }

    #[test]
    fn no_line_is_too_long_and_nothing_of_a_text_is_lost() {
        for text in ["", "short", &"x".repeat(100), &"word ".repeat(40), &format!("{} and {}", "y".repeat(44), "z".repeat(45))] {
            let lines = wrapped(text);

            assert!(lines.iter().all(|line| (1..=LINE_CHARS_MAX).contains(&line.chars().count())), "{lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
