//! A statement's lines, as RFC 4180 has them. No I/O.

use crate::{clock::Timestamp, credits::model::Transaction};
use chrono::SecondsFormat;

/// The first line.
pub const HEADING: &str = "id,created_at,type,operation,quantity,amount,balance_after,description,reference\r\n";

/// Adds an entry's line.
pub fn write_line(text: &mut String, entry: &Transaction) {
    let quantity = entry.quantity.map(|quantity| quantity.to_string());
    let cells = [
        entry.id.to_string(),
        entry.created_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        entry.kind.to_string(),
        entry.operation.map_or_else(String::new, |operation| operation.to_string()),
        quantity.unwrap_or_default(),
        entry.amount.get().to_string(),
        entry.balance_after.get().to_string(),
        quoted(&entry.description),
        entry.reference.as_deref().map_or_else(String::new, quoted),
    ];
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// A text as a cell: quoted, and never a formula. Spreadsheets take what begins with one of these characters for one, also
/// after white space; an apostrophe before it says that it is text.
fn quoted(text: &str) -> String {
    let is_formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) || text.starts_with(['\t', '\r', '\n']);
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, text.replace('"', "\"\""))
}

/// What the file is called: `igny8-credits-home-g8-2026-03-01.csv`. Of the account's word only plain characters.
pub fn file_name(account_slug: &str, now: Timestamp) -> String {
    let slug = account_slug.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect::<String>();
    format!("igny8-credits-{slug}-{}.csv", now.format("%Y-%m-%d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula_and_never_ends_early() {
        for (text, cell) in [
            ("Header images", "\"Header images\""),
            ("=1+1", "\"'=1+1\""),
            (" @sum(a1)", "\"' @sum(a1)\""),
            ("-2", "\"'-2\""),
            ("+49 30", "\"'+49 30\""),
            ("\n=x", "\"'\n=x\""),
            ("\tx", "\"'\tx\""),
            ("say \"hi\", twice", "\"say \"\"hi\"\", twice\""),
            ("a=b", "\"a=b\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(text), cell);
        }
    }

    #[test]
    fn a_file_name_holds_no_character_that_a_header_or_a_path_would_mind() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(file_name("home-g8", now), "igny8-credits-home-g8-1970-01-01.csv");
        assert_eq!(file_name("../a\"\r\nb", now), "igny8-credits-ab-1970-01-01.csv");
    }
}
