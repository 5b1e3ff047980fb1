//! MT940 as lines. No I/O.

use crate::{
    billing::statements::{
        model::{Direction, ReadLine, StatementFault},
        rules::LINES_MAX,
    },
    money::Money,
};
use mt940::{ExtDebitOrCredit, InformationToAccountOwner, Message, ParseError, StatementLine};

/// What banks write where there is no reference.
const NO_REFERENCE: &str = "NONREF";

/// Reads all messages of a file. Letters that SWIFT does not know become the nearest that it does.
pub fn read(text: &str) -> Result<Vec<ReadLine>, StatementFault> {
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    let swift = mt940::sanitizers::sanitize(&unix.replace('\n', "\r\n"));
    let messages = mt940::parse_mt940(&swift).map_err(|error| broken(&unix, &error))?;
    let count = messages.iter().map(|message| message.statement_lines.len()).sum::<usize>();
    if count > LINES_MAX {
        return Err(StatementFault::at(1, 1, format!("a file has at most {LINES_MAX} lines; split it")));
    }
    let lines = messages.iter().flat_map(|message| message.statement_lines.iter().map(move |line| (message, line)));
    lines.map(|(message, read)| line(message, read)).collect()
}

fn line(message: &Message, read: &StatementLine) -> Result<ReadLine, StatementFault> {
    let amount = Money::from_decimal(read.amount)
        .map_err(|error| StatementFault::at(1, ":61:", format!("{} of {} can't be taken: {error}", read.amount, read.value_date)))?;
    let direction = match read.ext_debit_credit_indicator {
        ExtDebitOrCredit::Credit | ExtDebitOrCredit::ReverseDebit => Direction::In,
        ExtDebitOrCredit::Debit | ExtDebitOrCredit::ReverseCredit => Direction::Out,
    };
    let (payer_name, remittance) = told(read.information_to_account_owner.as_ref());
    let references = [read.bank_ref.as_deref(), Some(read.customer_ref.as_str())];
    let reference = references.into_iter().flatten().map(str::trim).find(|reference| !reference.is_empty() && *reference != NO_REFERENCE);
    Ok(ReadLine {
        booked_on: read.entry_date.unwrap_or(read.value_date),
        amount,
        direction,
        currency: message.opening_balance.iso_currency_code.to_uppercase(),
        payer_name,
        remittance: format!("{remittance} {}", read.supplementary_details.as_deref().unwrap_or("")),
        bank_reference: reference.unwrap_or("").to_owned(),
    })
}

/// Who paid, and what he wrote. In the German way both stand in numbered parts, which the library tells apart.
fn told(information: Option<&InformationToAccountOwner>) -> (String, String) {
    match information {
        None => (String::new(), String::new()),
        Some(InformationToAccountOwner::Plain(text)) => (String::new(), text.clone()),
        Some(InformationToAccountOwner::Structured { purpose, additional_purpose, applicant_name, .. }) => {
            let text = [purpose.as_deref(), additional_purpose.as_deref()].into_iter().flatten().collect::<String>();
            (applicant_name.clone().unwrap_or_default(), text)
        }
    }
}

/// Where the file stops being MT940: the grammar tells the place, a field's own fault tells its tag.
fn broken(text: &str, error: &ParseError) -> StatementFault {
    let tag = |tag: &str| {
        let line = text.lines().position(|line| line.starts_with(&format!(":{tag}:"))).map_or(1, |at| at + 1);
        StatementFault::at(line, format!(":{tag}:"), "this field is not as MT940 has it")
    };
    match error {
        ParseError::UnknownTagError(unknown) => tag(unknown),
        ParseError::PestParseError(error) => {
            let (line, column) = match error.line_col {
                pest::error::LineColLocation::Pos(at) | pest::error::LineColLocation::Span(at, _) => at,
            };
            StatementFault::at(line, column, "this is not as MT940 has it")
        }
        _ => StatementFault::at(1, 1, error.to_string().chars().filter(|c| !c.is_control()).take(200).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = ":20:STARTUMS\n:25:DABADKKK/111111\n:28C:00001/001\n:60F:C260301EUR100,00\n:61:2603020302CR89,00NTRFNONREF//BANK-7\n:86:RF27IG00002926030001 M\u{FC}ller\n:61:2603020302DR5,50NMSCNONREF\n:86:Fees\n:62F:C260302EUR183,50\n-\n";

    #[test]
    fn credits_and_debits_are_told_with_their_references() {
        for text in [FILE.to_owned(), FILE.replace('\n', "\r\n")] {
            let lines = read(&text).unwrap();
            assert_eq!(lines.len(), 2);
            assert_eq!(
                (lines[0].amount.to_string().as_str(), lines[0].direction, lines[0].bank_reference.as_str()),
                ("89.00", Direction::In, "BANK-7")
            );
            assert!(lines[0].remittance.starts_with("RF27IG00002926030001"), "{:?}", lines[0]);
            assert_eq!((lines[1].direction, lines[1].bank_reference.as_str(), lines[1].currency.as_str()), (Direction::Out, "", "EUR"));
        }
    }

    #[test]
    fn a_fault_says_where_it_is() {
        assert!(!read(&FILE.replace("89,00", "eighty")).unwrap_err().column.is_empty());
        for text in ["", ":20:", "nothing", ":61:\n:61:", &":".repeat(10_000)] {
            assert!(read(text).is_ok_and(|lines| lines.is_empty()) || read(text).is_err(), "{text:.20}");
        }
    }
}
