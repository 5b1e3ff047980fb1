//! Whether a plugin is where its site is.

use super::model::OtherHome;
use crate::sites::model::HomeUrl;

/// Addresses noted for one site at the most; from more of them the site's key still only reads.
pub const CLONES_MAX: i64 = 20;

/// The other address, if the plugin says that it runs at one. Who says nothing is believed to be at home, and so is
/// everybody while no address is registered.
pub fn other_home(registered: Option<&str>, home: &HomeUrl) -> Option<OtherHome> {
    let registered = HomeUrl(Some(registered?.to_owned()));
    let is_other = home.place()? != registered.place()?;
    is_other.then_some(OtherHome { registered_url: registered.0?, home_url: home.0.clone()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plugin_that_names_another_place_is_elsewhere() {
        let home = |text: &str| HomeUrl::parse(text).unwrap();
        let registered = Some("https://garden.example.com");

        assert_eq!(other_home(registered, &home("")), None);
        assert_eq!(other_home(registered, &home("http://www.garden.example.com/")), None);
        assert_eq!(other_home(None, &home("https://staging.example.com")), None);
        let other = other_home(registered, &home("https://staging.example.com")).unwrap();
        assert_eq!((other.registered_url.as_str(), other.home_url.as_str()), ("https://garden.example.com", "https://staging.example.com"));
    }
}
