//! What an admin's search means. No I/O.

use super::model::{Overdue, Search};
use crate::{
    billing::{model::Invoice, rules::read_reference},
    clock::Timestamp,
};

/// Words of a search that are compared with names, at the most.
const WORDS_MAX: usize = 8;

/// Reads what was typed. Blanks at the ends mean nothing.
pub fn search(typed: &str) -> Search {
    let typed = typed.trim();
    let (lower, upper) = (typed.to_lowercase(), typed.to_uppercase());
    let reference = read_reference(typed).unwrap_or_else(|| upper.replace(' ', ""));
    Search {
        id: typed.parse().ok(),
        words: words(&lower),
        lower: range(lower),
        upper: range(upper),
        reference: range(reference),
        typed: range(typed.to_owned()),
    }
}

/// All texts that begin with this one, by bytes: nothing comes after the last character.
fn range(from: String) -> (String, String) {
    let to = format!("{from}{}", char::MAX);
    (from, to)
}

/// Each word as the beginning of one, all of them needed. Only letters and digits pass: nothing that the language of text
/// searches would take for a sign of its own.
fn words(lower: &str) -> Option<String> {
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words = words.take(WORDS_MAX).map(|word| format!("'{word}':*")).collect::<Vec<_>>();
    (!words.is_empty()).then(|| words.join(" & "))
}

/// What of an open invoice is past its date.
pub fn overdue(invoice: &Invoice, now: Timestamp) -> Option<Overdue> {
    (invoice.due_at <= now && !invoice.outstanding.is_zero()).then(|| Overdue {
        invoice_number: invoice.number.clone(),
        outstanding: invoice.outstanding,
        currency: invoice.currency.clone(),
        due_at: invoice.due_at,
        days: (now - invoice.due_at).num_days(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_is_compared_as_each_column_is_written() {
        let search = search(" Home G8 ");

        assert_eq!(search.id, None);
        assert_eq!(search.lower, ("home g8".to_owned(), "home g8\u{10FFFF}".to_owned()));
        assert_eq!((search.upper.0.as_str(), search.reference.0.as_str(), search.typed.0.as_str()), ("HOME G8", "HOMEG8", "Home G8"));
        assert_eq!(search.words.as_deref(), Some("'home':* & 'g8':*"));
    }

    #[test]
    fn numbers_are_numbers_and_signs_are_no_words() {
        assert_eq!(search("29").id, Some(29));
        assert_eq!(search("99999999999999999999").id, None);
        assert_eq!(search("'; & | ! :*").words, None);
        assert_eq!(search("o'neill:*").words.as_deref(), Some("'o':* & 'neill':*"));
    }
}
