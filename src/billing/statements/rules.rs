//! Whose money a line is, and what a file is. No I/O.

use super::{
    camt, csv,
    csv::rules::Columns,
    model::{Candidate, Certainty, Direction, Match, ReadLine, StatementFault, StatementFormat},
    mt940,
};
use crate::billing::rules::read_reference;

/// A file at the most, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Lines of a file at the most.
pub const LINES_MAX: usize = 2_000;
/// Characters of a payer's name at the most; the rest is cut.
const NAME_CHARS_MAX: usize = 200;
/// Characters of what a payer wrote at the most; the rest is cut.
const REMITTANCE_CHARS_MAX: usize = 1_000;
/// Characters of a bank's reference at the most; the rest is cut.
const BANK_REFERENCE_CHARS_MAX: usize = 100;
/// A payment reference is that long, and as much longer as the account's number is.
const REFERENCE_CHARS: std::ops::RangeInclusive<usize> = 20..=26;

/// How a file is to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// How it is written; unset: told by its beginning.
    pub format: Option<StatementFormat>,
    /// A CSV's columns.
    pub columns: Columns,
}

/// Reads a file, whole or not at all.
pub fn read(bytes: &[u8], reading: &Reading) -> Result<(StatementFormat, Vec<ReadLine>), StatementFault> {
    let text = decoded(bytes)?;
    let format = reading.format.unwrap_or_else(|| format_of(&text));
    let lines = match format {
        StatementFormat::Csv => csv::rules::read(&text, &reading.columns)?,
        StatementFormat::Camt053 => camt::rules::read(&text)?,
        StatementFormat::Mt940 => mt940::rules::read(&text)?,
    };
    if lines.is_empty() {
        return Err(StatementFault::at(1, 1, "there is no line in it"));
    }
    Ok((format, lines.into_iter().map(tidied).collect()))
}

/// UTF-8, or else ISO-8859-1, in which every byte is a letter. UTF-16 is neither: it would read as letters with nothing between.
fn decoded(bytes: &[u8]) -> Result<String, StatementFault> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(StatementFault::at(1, at + 1, "this is no text in UTF-8 or ISO-8859-1; save it as UTF-8"));
    }
    Ok(std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned))
}

fn format_of(text: &str) -> StatementFormat {
    let is_mt940 = text.lines().take(20).any(|line| line.starts_with(":20:") || line.starts_with("{1:"));
    match text.trim_start().starts_with('<') {
        true => StatementFormat::Camt053,
        false if is_mt940 => StatementFormat::Mt940,
        false => StatementFormat::Csv,
    }
}

fn tidied(line: ReadLine) -> ReadLine {
    ReadLine {
        payer_name: plain(&line.payer_name, NAME_CHARS_MAX),
        remittance: plain(&line.remittance, REMITTANCE_CHARS_MAX),
        bank_reference: plain(&line.bank_reference, BANK_REFERENCE_CHARS_MAX),
        ..line
    }
}

/// On one line, without control characters, and not too long.
fn plain(text: &str, chars_max: usize) -> String {
    let text = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    text.collect::<Vec<_>>().join(" ").chars().take(chars_max).collect()
}

/// Whether a match is as sure as somebody wants it: else why it is not.
pub fn sure_enough(found: &Match, least: Certainty) -> Result<(), &'static str> {
    match (found.certainty, least) {
        (Certainty::Sure, _) | (Certainty::Likely, Certainty::Likely | Certainty::None) => Ok(()),
        (Certainty::Likely, Certainty::Sure) => Err("it is only likely by now"),
        (Certainty::None, _) => Err(found.why),
    }
}

/// Which open invoice a line is for. What left is for none.
pub fn matched(line: &ReadLine, candidates: &[Candidate]) -> Match {
    if line.direction == Direction::Out {
        return nobody("money that left");
    }
    let is_paid = |candidate: &Candidate| candidate.outstanding == line.amount && candidate.currency == line.currency;
    let written = windows(&line.remittance);
    let exact =
        |candidate: &&Candidate| written.iter().any(|window| read_reference(window).as_deref() == Some(candidate.reference.as_str()));
    if let Some(candidate) = candidates.iter().find(exact) {
        return match is_paid(candidate) {
            true => of(Certainty::Sure, "payment reference and amount", candidate),
            false => of(Certainty::Likely, "payment reference, another amount", candidate),
        };
    }
    let typo = |candidate: &&Candidate| written.iter().any(|window| is_one_error_away(window, &candidate.reference));
    let payer = squeezed(&line.payer_name);
    let named =
        |candidate: &&Candidate| !payer.is_empty() && is_paid(candidate) && candidate.names.iter().any(|name| squeezed(name) == payer);
    only(candidates.iter().filter(typo), "payment reference with one typing error")
        .or_else(|| only(candidates.iter().filter(named), "amount and payer"))
        .unwrap_or_else(|| nobody("nothing fits"))
}

/// The only one; several are none.
fn only<'a>(mut fitting: impl Iterator<Item = &'a Candidate>, why: &'static str) -> Option<Match> {
    let first = fitting.next()?;
    Some(if fitting.next().is_none() { of(Certainty::Likely, why, first) } else { nobody("several fit") })
}

fn of(certainty: Certainty, why: &'static str, candidate: &Candidate) -> Match {
    let (account_id, account_slug) = (Some(candidate.account), Some(candidate.slug.clone()));
    let (invoice_number, outstanding) = (Some(candidate.number.clone()), Some(candidate.outstanding));
    Match { certainty, why, account_id, account_slug, invoice_number, outstanding }
}

fn nobody(why: &'static str) -> Match {
    Match { certainty: Certainty::None, why, account_id: None, account_slug: None, invoice_number: None, outstanding: None }
}

/// Every part of a text that may be a payment reference, blanks and signs taken out, for customers group and break it. One
/// typing error may have hit its first letter, or taken a letter away or added one.
fn windows(text: &str) -> Vec<String> {
    let letters = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect::<Vec<_>>();
    let begins = |at: &usize| letters.get(*at) == Some(&'R') || letters.get(*at) == Some(&'F') || letters.get(at + 1) == Some(&'F');
    let lengths = (REFERENCE_CHARS.start() - 1)..=(REFERENCE_CHARS.end() + 1);
    let spans = (0..letters.len()).filter(begins).flat_map(|at| lengths.clone().map(move |length| at..at + length));
    spans.filter_map(|span| letters.get(span)).map(|window| window.iter().collect()).collect()
}

/// One letter wrong, missing, too many, or two exchanged. One error leaves the beginning or the end as it is, which is looked at
/// first: it costs little.
fn is_one_error_away(window: &str, reference: &str) -> bool {
    let half = (reference.len() / 2).saturating_sub(1);
    let (Some(head), Some(tail)) = (reference.get(..half), reference.get(reference.len() - half..)) else { return false };
    window.len().abs_diff(reference.len()) <= 1
        && (window.starts_with(head) || window.ends_with(tail))
        && strsim::damerau_levenshtein(window, reference) == 1
}

/// A name without signs, blanks and case.
fn squeezed(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{billing::rules::payment_reference, ids::AccountId};

    fn candidate(account: i64, name: &str) -> Candidate {
        let reference = payment_reference(AccountId(account), "202603", 1);
        let outstanding = "89".parse().unwrap();
        Candidate {
            account: AccountId(account),
            slug: name.to_lowercase(),
            number: format!("INV-{account}"),
            reference,
            currency: "USD".to_owned(),
            outstanding,
            names: vec![name.to_owned()],
        }
    }

    fn line(amount: &str, payer: &str, remittance: &str) -> ReadLine {
        ReadLine {
            booked_on: "2026-03-02".parse().unwrap(),
            amount: amount.parse().unwrap(),
            direction: Direction::In,
            currency: "USD".to_owned(),
            payer_name: payer.to_owned(),
            remittance: remittance.to_owned(),
            bank_reference: String::new(),
        }
    }

    #[test]
    fn a_line_is_sure_by_reference_and_amount_and_likely_by_less() {
        let all = [candidate(29, "Home G8"), candidate(30, "TacBit"), candidate(31, "Tac-Bit")];
        let reference = all[0].reference.clone();
        let judged = |line: &ReadLine| {
            let found = matched(line, &all);
            (found.certainty, found.account_id.map(|account| account.0))
        };
        let with = |text: String| judged(&line("89", "Somebody", &text));
        let spaced = format!("Invoice, ref {} {} {} thanks", &reference[..4], &reference[4..9], reference[9..].to_lowercase());
        let swapped = format!("{}{}{}", &reference[..16], &reference[17..18], &format!("{}{}", &reference[16..17], &reference[18..]));

        for sure in [reference.clone(), spaced, reference.replace('0', "O")] {
            assert_eq!(with(sure.clone()), (Certainty::Sure, Some(29)), "{sure}");
        }
        for typo in [format!("{}9{}", &reference[..12], &reference[13..]), reference[..19].to_owned(), format!("X{}", &reference[1..])] {
            assert_eq!(with(typo.clone()), (Certainty::Likely, Some(29)), "{typo}");
        }
        assert!(swapped == reference || with(swapped).0 == Certainty::Likely);
        assert_eq!(judged(&line("88", "Somebody", &reference)), (Certainty::Likely, Some(29)));
        assert_eq!(judged(&line("89", "HOME g8", "")), (Certainty::Likely, Some(29)));
        assert_eq!(judged(&line("88", "Home G8", "")), (Certainty::None, None));
        assert_eq!(judged(&line("89", "tacbit", "")), (Certainty::None, None), "two are called so");
        assert_eq!(judged(&ReadLine { direction: Direction::Out, ..line("89", "Home G8", &reference) }), (Certainty::None, None));
        assert_eq!(judged(&ReadLine { currency: "EUR".to_owned(), ..line("89", "Home G8", "") }), (Certainty::None, None));
    }

    #[test]
    fn a_file_is_told_by_its_beginning_and_read_in_either_encoding() {
        assert_eq!(format_of("\n<?xml version=\"1.0\"?>"), StatementFormat::Camt053);
        assert_eq!(format_of("\r\n:20:STARTUMS\r\n:25:1"), StatementFormat::Mt940);
        assert_eq!(format_of("Date,Amount"), StatementFormat::Csv);
        assert_eq!(decoded(b"M\xFCller").unwrap(), "M\u{FC}ller");
        assert_eq!(decoded("\u{FEFF}M\u{FC}ller".as_bytes()).unwrap(), "M\u{FC}ller");
        assert_eq!((decoded(b"A\0B\0").unwrap_err().line, decoded(b"A\0B\0").unwrap_err().column.as_str()), (1, "2"));
    }
}
