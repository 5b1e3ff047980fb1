//! Which country's bank details serve a customer. No I/O.

use serde_json::Value;

/// Stands for every country of [`EURO`].
pub const EURO_AREA: &str = "EU";

/// Countries whose money is the euro.
const EURO: [&str; 21] =
    ["AT", "BE", "BG", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PT", "SI", "SK"];

/// The country of a billing address: its member `country`, two letters in any case. Nothing where there is none.
pub fn country_of(billing_address: &Value) -> Option<String> {
    read_country(billing_address.get("country")?.as_str()?)
}

/// A country's code as we keep it: two letters, large.
pub fn read_country(typed: &str) -> Option<String> {
    let typed = typed.trim();
    (typed.len() == 2 && typed.bytes().all(|b| b.is_ascii_alphabetic())).then(|| typed.to_ascii_uppercase())
}

/// Whose details serve a country, best first.
pub fn served_by(country: Option<&str>) -> Vec<String> {
    let Some(country) = country else { return Vec::new() };
    let euro = EURO.contains(&country).then(|| EURO_AREA.to_owned());
    std::iter::once(country.to_owned()).chain(euro).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_country_is_read_from_the_billing_address_in_any_case() {
        assert_eq!(country_of(&json!({"country": " gb "})).as_deref(), Some("GB"));
        for address in [json!({}), json!({"country": "Germany"}), json!({"country": 7}), json!(null), json!({"country": "1é"})] {
            assert_eq!(country_of(&address), None, "{address}");
        }
    }

    #[test]
    fn euro_countries_have_details_in_common_where_they_have_none_of_their_own() {
        assert_eq!(served_by(Some("DE")), ["DE", "EU"]);
        assert_eq!((served_by(Some("GB")), served_by(None)), (vec!["GB".to_owned()], Vec::new()));
    }
}
