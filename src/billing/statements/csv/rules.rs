//! Rows of a CSV as lines. No I/O.

use crate::{
    billing::statements::{
        model::{Direction, ReadLine, StatementFault},
        rules::LINES_MAX,
    },
    money::Money,
};
use chrono::NaiveDate;
use csv::{ByteRecord, ReaderBuilder, StringRecord};
use rust_decimal::Decimal;

crate::words! {
    /// A bank whose columns are known.
    pub enum CsvProfile {
        /// Wise: the statement of a balance.
        Wise = "wise",
        /// Revolut Business: the export of transactions.
        Revolut = "revolut",
        /// N26: the export of an account.
        N26 = "n26",
    }
}

/// Which column says what, by the names in the first row. What a bank does not give is unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Between columns.
    pub delimiter: u8,
    /// Between whole and fraction.
    pub decimal: char,
    /// How days are written, as `chrono` names it.
    pub date_format: String,
    /// The day.
    pub date: String,
    /// The amount, negative where money left.
    pub amount: String,
    /// The currency; unset: `default_currency`.
    pub currency: Option<String>,
    /// The currency of a file that does not say it.
    pub default_currency: String,
    /// Who paid.
    pub payer: Option<String>,
    /// What he wrote.
    pub remittance: Option<String>,
    /// The bank's own reference.
    pub reference: Option<String>,
}

impl Default for Columns {
    /// Where nothing is said: names that anybody would choose.
    fn default() -> Self {
        let name = |name: &str| Some(name.to_owned());
        Columns {
            delimiter: b',',
            decimal: '.',
            date_format: "%Y-%m-%d".to_owned(),
            date: "Date".to_owned(),
            amount: "Amount".to_owned(),
            currency: None,
            default_currency: "USD".to_owned(),
            payer: name("Payer"),
            remittance: name("Description"),
            reference: name("Reference"),
        }
    }
}

impl Columns {
    /// The columns of a bank that is known.
    pub fn of(profile: CsvProfile) -> Self {
        let name = |name: &str| Some(name.to_owned());
        match profile {
            CsvProfile::Wise => Columns {
                date_format: "%d-%m-%Y".to_owned(),
                currency: name("Currency"),
                payer: name("Payer Name"),
                remittance: name("Payment Reference"),
                reference: name("TransferWise ID"),
                ..Self::default()
            },
            CsvProfile::Revolut => Columns {
                date: "Date completed (UTC)".to_owned(),
                currency: name("Payment currency"),
                payer: name("Payer"),
                remittance: name("Reference"),
                reference: name("ID"),
                ..Self::default()
            },
            CsvProfile::N26 => Columns {
                date: "Booking Date".to_owned(),
                amount: "Amount (EUR)".to_owned(),
                default_currency: "EUR".to_owned(),
                payer: name("Partner Name"),
                remittance: name("Payment Reference"),
                reference: None,
                ..Self::default()
            },
        }
    }
}

/// What somebody says of a file's columns; what he leaves out is as the bank has it, or as anybody would choose.
#[derive(Clone, Debug, Default)]
pub struct ColumnWish {
    /// The bank.
    pub profile: Option<CsvProfile>,
    /// Between columns.
    pub delimiter: Option<String>,
    /// Between whole and fraction.
    pub decimal: Option<String>,
    /// How days are written.
    pub date_format: Option<String>,
    /// The day's column.
    pub date: Option<String>,
    /// The amount's column.
    pub amount: Option<String>,
    /// The currency's column.
    pub currency_column: Option<String>,
    /// The currency, where no column says it.
    pub currency: Option<String>,
    /// The payer's column.
    pub payer: Option<String>,
    /// The column of what he wrote.
    pub remittance: Option<String>,
    /// The column of the bank's own reference.
    pub reference: Option<String>,
}

/// What is wrong with such a wish: which part of it, and what to give instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WishFault(pub &'static str, pub &'static str);

impl ColumnWish {
    /// The columns that are meant, or all that is wrong.
    pub fn columns(self) -> Result<Columns, Vec<WishFault>> {
        let mut columns = self.profile.map_or_else(Columns::default, Columns::of);
        let mut faults = Vec::new();
        match self.delimiter.as_ref().map(String::as_bytes) {
            None => {}
            Some([sign]) if !sign.is_ascii_alphanumeric() && *sign != b'"' => columns.delimiter = *sign,
            Some(_) => faults.push(WishFault("delimiter", "Give one sign such as ; between columns.")),
        }
        match self.decimal.as_deref() {
            None => {}
            Some(".") => columns.decimal = '.',
            Some(",") => columns.decimal = ',',
            Some(_) => faults.push(WishFault("decimal", "Give . or , between whole and fraction.")),
        }
        let replace = |column: &mut String, named: Option<String>| *column = named.unwrap_or_else(|| column.clone());
        replace(&mut columns.date_format, self.date_format);
        replace(&mut columns.date, self.date);
        replace(&mut columns.amount, self.amount);
        replace(&mut columns.default_currency, self.currency.map(|currency| currency.to_uppercase()));
        columns.currency = self.currency_column.or(columns.currency);
        columns.payer = self.payer.or(columns.payer);
        columns.remittance = self.remittance.or(columns.remittance);
        columns.reference = self.reference.or(columns.reference);
        if faults.is_empty() { Ok(columns) } else { Err(faults) }
    }
}

/// Where each column stands.
struct Places {
    date: usize,
    amount: usize,
    currency: Option<usize>,
    payer: Option<usize>,
    remittance: Option<usize>,
    reference: Option<usize>,
}

/// Reads rows under a row of names. A row that can't be read refuses the file.
pub fn read(text: &str, columns: &Columns) -> Result<Vec<ReadLine>, StatementFault> {
    let mut reader = ReaderBuilder::new().delimiter(columns.delimiter).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| broken(&error))?.clone();
    let places = places(&names, columns)?;
    let (mut lines, mut row) = (Vec::new(), ByteRecord::new());
    while reader.read_byte_record(&mut row).map_err(|error| broken(&error))? {
        let at = row.position().and_then(|position| usize::try_from(position.line()).ok()).unwrap_or(0);
        if lines.len() == LINES_MAX {
            return Err(StatementFault::at(at, 1, format!("a file has at most {LINES_MAX} lines; split it")));
        }
        let cells = StringRecord::from_byte_record_lossy(row.clone());
        lines.push(line(&cells, &places, columns, at)?);
    }
    Ok(lines)
}

fn places(names: &StringRecord, columns: &Columns) -> Result<Places, StatementFault> {
    let find = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
    let needed = |wanted: &str| {
        let what = || StatementFault::at(1, wanted, "there is no such column; choose a profile or name the columns");
        find(wanted).ok_or_else(what)
    };
    let optional = |wanted: &Option<String>| wanted.as_deref().and_then(find);
    let currency = columns.currency.as_deref().map(needed).transpose()?;
    let (payer, remittance, reference) = (optional(&columns.payer), optional(&columns.remittance), optional(&columns.reference));
    Ok(Places { date: needed(&columns.date)?, amount: needed(&columns.amount)?, currency, payer, remittance, reference })
}

fn line(cells: &StringRecord, places: &Places, columns: &Columns, at: usize) -> Result<ReadLine, StatementFault> {
    let cell = |place: usize| cells.get(place).unwrap_or("").trim();
    let text = |place: Option<usize>| place.map(cell).unwrap_or("").to_owned();
    // Some banks add the time of day.
    let day = cell(places.date).split([' ', 'T']).next().unwrap_or("");
    let booked_on = NaiveDate::parse_from_str(day, &columns.date_format)
        .map_err(|_| StatementFault::at(at, &columns.date, format!("'{}' is no day written as {}", shown(day), columns.date_format)))?;
    let wrong = |what: &str| StatementFault::at(at, &columns.amount, format!("'{}' {what}", shown(cell(places.amount))));
    let signed = number(cell(places.amount), columns.decimal).ok_or_else(|| wrong("is no amount"))?;
    let amount = Money::from_decimal(signed.abs()).map_err(|error| wrong(&format!("can't be taken: {error}")))?;
    let currency = places.currency.map_or_else(|| columns.default_currency.clone(), |place| cell(place).to_uppercase());
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(StatementFault::at(at, columns.currency.as_deref().unwrap_or("currency"), "give three letters such as USD"));
    }
    Ok(ReadLine {
        booked_on,
        amount,
        direction: if signed.is_sign_negative() { Direction::Out } else { Direction::In },
        currency,
        payer_name: text(places.payer),
        remittance: text(places.remittance),
        bank_reference: text(places.reference),
    })
}

/// An amount as banks write it: a sign, digits in groups, and a fraction after the sign for it.
fn number(text: &str, decimal: char) -> Option<Decimal> {
    let group = if decimal == ',' { '.' } else { ',' };
    let plain = text.chars().filter(|c| *c != group && *c != ' ' && *c != '\u{A0}' && *c != '\'');
    let plain = plain.map(|c| if c == decimal { '.' } else { c }).collect::<String>();
    let digits = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_number.then(|| Decimal::from_str_exact(plain.trim_start_matches('+')).ok()).flatten()
}

/// As much of a cell as a sentence bears.
fn shown(cell: &str) -> String {
    cell.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn broken(error: &csv::Error) -> StatementFault {
    let line = error.position().and_then(|position| usize::try_from(position.line()).ok()).unwrap_or(1);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            StatementFault::at(line, len, format!("there are {len} columns and {expected_len} names"))
        }
        _ => StatementFault::at(line, 1, "this row can't be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bank_writes_its_own_way() {
        let wise = "\"TransferWise ID\",Date,Amount,Currency,Description,\"Payment Reference\",\"Payer Name\"\nTRANSFER-1,02-03-2026,\"1,089.50\",USD,Received,RF27,\"Ana, Ltd\"\n";
        let revolut = "Date completed (UTC),ID,Reference,Payer,Amount,Payment currency\n2026-03-02 10:00:00,abc,RF27,Ana,-5.00,EUR\n";
        let n26 = "Booking Date,Partner Name,Payment Reference,Amount (EUR)\n2026-03-02,Ana,RF27,89\n";
        let first = |text, profile| read(text, &Columns::of(profile)).unwrap().remove(0);

        let line = first(wise, CsvProfile::Wise);
        assert_eq!(
            (line.amount.to_string().as_str(), line.payer_name.as_str(), line.bank_reference.as_str()),
            ("1089.50", "Ana, Ltd", "TRANSFER-1")
        );
        let line = first(revolut, CsvProfile::Revolut);
        assert_eq!((line.direction, line.currency.as_str(), line.booked_on.to_string().as_str()), (Direction::Out, "EUR", "2026-03-02"));
        let line = first(n26, CsvProfile::N26);
        assert_eq!((line.direction, line.currency.as_str(), line.remittance.as_str()), (Direction::In, "EUR", "RF27"));
    }

    #[test]
    fn what_is_said_of_columns_replaces_the_banks_and_what_is_wrong_with_it_is_told_at_once() {
        let text = |text: &str| Some(text.to_owned());
        let wish = ColumnWish {
            profile: Some(CsvProfile::N26),
            delimiter: text(";"),
            date: text("Tag"),
            currency: text("usd"),
            ..ColumnWish::default()
        };
        let wrong = ColumnWish { delimiter: text("ab"), decimal: text("'"), ..ColumnWish::default() };

        let columns = wish.columns().unwrap();

        let expected =
            Columns { delimiter: b';', date: "Tag".to_owned(), default_currency: "USD".to_owned(), ..Columns::of(CsvProfile::N26) };
        assert_eq!(columns, expected);
        assert_eq!(wrong.columns().unwrap_err().into_iter().map(|fault| fault.0).collect::<Vec<_>>(), ["delimiter", "decimal"]);
    }

    #[test]
    fn columns_can_be_named_and_a_fault_says_where_it_is() {
        let german = Columns {
            delimiter: b';',
            decimal: ',',
            date_format: "%d.%m.%Y".to_owned(),
            date: "Tag".to_owned(),
            amount: "Betrag".to_owned(),
            ..Columns::default()
        };
        let fault = |text: &str| read(text, &german).map_err(|fault| (fault.line, fault.column)).unwrap_err();

        assert_eq!(read("Tag;Betrag\n02.03.2026;-1.234,50\n", &german).unwrap()[0].amount.to_string(), "1234.50");
        assert_eq!(fault("Tag;Sum\n"), (1, "Betrag".to_owned()));
        assert_eq!(fault("Tag;Betrag\n02.03.2026;1,00\n2026-03-02;1,00\n"), (3, "Tag".to_owned()));
        assert_eq!(fault("Tag;Betrag\n02.03.2026;1,001\n"), (2, "Betrag".to_owned()));
        assert_eq!(fault("Tag;Betrag\n02.03.2026;=1+1\n"), (2, "Betrag".to_owned()));
        assert_eq!(fault("Tag;Betrag\n02.03.2026;1,00;x\n"), (2, "3".to_owned()));
        let many = format!("Tag;Betrag\n{}", "02.03.2026;1,00\n".repeat(LINES_MAX + 1));
        assert_eq!(fault(&many), (LINES_MAX + 2, "1".to_owned()));
    }
}
