//! A site, who sees it, and who changes it.

use super::{
    clones::model::UrlConflict,
    industries::model::{IndustryWord, Named},
};
use crate::{
    audit::model::Origin,
    ids::{AccountId, SiteId, Slug, UserId},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

/// Characters of a home address at the most.
const URL_CHARS_MAX: usize = 500;

/// A site, as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Site {
    /// Its number.
    pub id: SiteId,
    /// Its name.
    #[schema(example = "Home & Garden Site")]
    pub name: String,
    /// Its word, unique among the account's living sites.
    #[schema(example = "home-garden-site")]
    pub slug: String,
    /// Its home address, if it has one yet.
    #[schema(example = "https://garden.example.com")]
    pub url: Option<String>,
    /// Whether its key opens anything.
    pub is_active: bool,
    /// Whether the plan has no room for it any more: it can be read and deleted, and thaws with a larger plan.
    pub is_frozen: bool,
    /// How many living sites of the account are older.
    #[serde(skip)]
    pub older_sites: i64,
    /// What it is about, if its owner has said.
    pub industry: Option<IndustryWord>,
    /// How many sectors it covers; `sectors/` lists them.
    #[schema(example = 3)]
    pub sectors_count: i64,
    /// Set when its key was used from another address and nobody has said yet what that is; see `url-conflict/`.
    pub url_conflict: Option<UrlConflict>,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A site that was deleted and can still come back.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeletedSite {
    /// Its number.
    pub id: SiteId,
    /// When it was deleted.
    pub deleted_at: DateTime<Utc>,
    /// From then on it can't be restored and is purged.
    pub restore_until: DateTime<Utc>,
}

/// Which of an account's sites somebody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of them.
    All,
    /// Those that this user was given access to.
    GrantedTo(UserId),
    /// This one only.
    Only(SiteId),
}

/// Who changes a site: for whom, with which sight, from where.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    /// The account whose sites they are.
    pub account: AccountId,
    /// The person.
    pub user: UserId,
    /// Which of the sites he sees; others don't exist for him.
    pub sight: Sight,
    /// The sites that his plan has room for; none without a plan.
    pub max_sites: Option<i32>,
    /// For the audit log.
    pub origin: &'a Origin,
}

/// A site to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Its word; unset: made from the name.
    pub slug: Option<Slug>,
    /// Its home address.
    pub url: HomeUrl,
    /// What it is about.
    pub industry: Option<Named>,
}

/// What to change of a site; what is unset stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteEdit {
    /// Another name.
    pub name: Option<String>,
    /// Another home address, or none.
    pub url: Option<HomeUrl>,
    /// On or off.
    pub is_active: Option<bool>,
    /// About something else, or about nothing in particular.
    pub industry: Option<Option<Named>>,
}

/// A site's home address, or none: null and an empty text both mean that it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Option<String>, format = "uri", max_length = 500, example = "https://garden.example.com")]
pub struct HomeUrl(pub Option<String>);

/// A text that is no home address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give an address such as https://garden.example.com, with at most {URL_CHARS_MAX} characters and without a password")]
pub struct NotAHomeUrl;

impl HomeUrl {
    /// Reads `http://` or `https://`, a host, perhaps a port and a path. Nothing is fetched from it here; whoever ever
    /// does must look at where the host leads.
    pub fn parse(text: &str) -> Result<Self, NotAHomeUrl> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(HomeUrl(None));
        }
        let (scheme, rest) = text.split_once("://").ok_or(NotAHomeUrl)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let is_plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if is_web && is_plain && text.chars().count() <= URL_CHARS_MAX && is_authority(authority) {
            Ok(HomeUrl(Some(text.to_owned())))
        } else {
            Err(NotAHomeUrl)
        }
    }
}

impl HomeUrl {
    /// The address in the form in which addresses are compared: without scheme, `www.`, a usual port, query and trailing
    /// slash, in lower case. A site is at one place, however its address is spelled.
    pub fn place(&self) -> Option<String> {
        self.0.as_deref().map(place_of)
    }
}

fn place_of(url: &str) -> String {
    let url = url.to_ascii_lowercase();
    let bare = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let bare = bare.split(['?', '#']).next().unwrap_or("");
    let (authority, path) = bare.find('/').map_or((bare, ""), |at| bare.split_at(at));
    let host = authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443")).unwrap_or(authority);
    let host = host.strip_suffix('.').unwrap_or(host);
    format!("{}{}", host.strip_prefix("www.").unwrap_or(host), path.trim_end_matches('/'))
}

/// A host name, an IPv4 address or an IPv6 address in brackets, perhaps with a port; no user, no password.
fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.strip_suffix('.').unwrap_or(host).split('.').all(is_label),
    };
    is_port && is_host
}

impl<'de> Deserialize<'de> for HomeUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        HomeUrl::parse(text.as_deref().unwrap_or("")).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_address_is_a_web_address_without_a_password() {
        let good = [
            "https://garden.example.com",
            "http://localhost:8080/wp",
            "HTTPS://Example.com./?p=1",
            "https://müller.example",
            "http://[::1]:81/",
            "http://10.0.0.7",
        ];
        for text in good {
            assert_eq!(HomeUrl::parse(text), Ok(HomeUrl(Some(text.to_owned()))), "{text}");
        }
        for text in [
            "garden.example.com",
            "javascript:alert(1)",
            "ftp://a.b",
            "https://",
            "https:///x",
            "https://a b",
            "https://u:p@a.b",
            "https://a..b",
            "https://a.b:0",
            "https://a.b:x",
            "https://-a.b",
            "https://[x]",
        ] {
            assert_eq!(HomeUrl::parse(text), Err(NotAHomeUrl), "{text}");
        }
        assert_eq!(HomeUrl::parse(&format!("https://a.b/{}", "x".repeat(500))), Err(NotAHomeUrl));
    }

    #[test]
    fn a_place_is_the_same_however_its_address_is_spelled() {
        let place = |text: &str| HomeUrl::parse(text).unwrap().place().unwrap();

        for text in [
            "http://garden.example.com",
            "https://WWW.Garden.Example.com/",
            "https://garden.example.com:443//?p=1",
            "http://www.garden.example.com.:80#top",
        ] {
            assert_eq!(place(text), "garden.example.com", "{text}");
        }
        assert_eq!(place("https://example.com/Blog/"), "example.com/blog");
        assert_eq!(place("http://[::1]:8080/a/b"), "[::1]:8080/a/b");
        for other in ["https://staging.garden.example.com", "https://garden.example.com/blog", "https://garden.example.com:8443"] {
            assert_ne!(place(other), "garden.example.com", "{other}");
        }
        assert_eq!(HomeUrl(None).place(), None);
    }

    #[test]
    fn null_and_an_empty_text_mean_no_address() {
        for text in ["null", "\"\"", "\"  \""] {
            assert_eq!(serde_json::from_str::<HomeUrl>(text).unwrap(), HomeUrl(None), "{text}");
        }
    }
}
