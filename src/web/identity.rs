//! Who is asking: what a request proves itself with, and whom that makes of it.

use super::{
    envelope::expired_cookies,
    pipeline::request_time,
    problem::{Outcome, Problem},
};
use crate::{
    auth::{model::Role, service::TokenRefused},
    clock::Timestamp,
    gate::{
        self,
        acquaintances::Acquaintance,
        model::{Person, Principal, Ticket},
    },
    ids::AccountId,
    secrets,
    sites::model::HomeUrl,
    state::AppState,
};
use axum::http::{HeaderMap, HeaderValue, Uri, header, request::Parts};

/// Answers a protected route that was reached by a session cookie (requirements C2), to the letter.
const NO_SESSIONS: &str = "Session authentication not allowed for API routes. Please use JWT.";
/// By this header a plugin tells the address that it runs at; where it can't send headers, by the query's `home_url`.
pub const HOME_URL: &str = "x-igny8-home-url";
/// By this header a developer names the account that he acts in.
pub const NAMED_ACCOUNT: &str = "x-account-id";

/// Who is asking: the bearer of a token or of a site key. No cookie is ever read as identity (requirements C).
pub(super) async fn identify(state: &AppState, request: &Parts) -> Outcome<Principal> {
    let now = request_time(&request.extensions);
    match credential(&request.headers)? {
        Credential::Token(token) => {
            let claims = state.authenticator.read_access(token, now)?;
            let named = named_account(&request.headers);
            let ticket = Ticket { session: claims.sid, user: claims.user_id, named: named.flatten() };
            let person = prove(state, ticket, claims.account_id, now).await?;
            match named {
                Some(_) if person.user.role != Role::Developer => Err(not_staff()),
                Some(_) if person.must_enroll => Err(not_enrolled()),
                Some(account) if account.is_none() || person.user.account.is_none() => Err(Problem::not_found()),
                Some(_) | None => Ok(Principal::Person(Box::new(person))),
            }
        }
        Credential::SiteKey(_) if request.headers.contains_key(NAMED_ACCOUNT) => Err(not_staff()),
        Credential::SiteKey(key) => {
            let home = home_url(&request.headers, &request.uri);
            let site = gate::service::site_of_key(state.lookup(), (key, home.as_ref().unwrap_or(&HomeUrl(None))), now).await?;
            // Nobody is told what is wrong with a request that he may not send.
            home.map(|_| Principal::Site(Box::new(site)))
        }
        Credential::Cookie => {
            let refusal = Problem::forbidden("session_not_allowed", NO_SESSIONS);
            Err(expired_cookies().fold(refusal, |problem, cookie| problem.header(header::SET_COOKIE, cookie)))
        }
        Credential::None => {
            Err(Problem::unauthenticated("authentication_required", "Sign in and send the access token as `Authorization: Bearer …`."))
        }
    }
}

/// The person behind a session that lives at `now`. `home` is the account that the token names: one that was issued for
/// another is stale.
pub(super) async fn prove(state: &AppState, ticket: Ticket, home: Option<AccountId>, now: Timestamp) -> Outcome<Person> {
    let person = gate::service::person_of(state.lookup(), ticket, now).await?;
    let mut person = person.filter(|person| person.home == home).ok_or(TokenRefused::Revoked)?;
    person.must_enroll &= state.config.mfa_required_for_developers;
    Ok(person)
}

/// Somebody who was let in before, by his token or key alone; nobody when anything about the request is out of the ordinary.
pub(super) fn recognise(state: &AppState, (headers, uri): (&HeaderMap, &Uri), now: Timestamp) -> Option<Acquaintance> {
    match credential(headers) {
        Ok(_) if headers.contains_key(NAMED_ACCOUNT) => None,
        Ok(Credential::Token(token)) => {
            let claims = state.authenticator.read_access(token, now).ok()?;
            let ticket = Ticket { session: claims.sid, user: claims.user_id, named: None };
            state.acquaintances.find(ticket, claims.account_id, now)
        }
        Ok(Credential::SiteKey(key)) => state.acquaintances.find_site(secrets::sha256(key), &home_url(headers, uri).ok()?, now),
        Ok(Credential::Cookie | Credential::None) | Err(_) => None,
    }
}

/// The hash of the key that a site calls by, and the address that its plugin told.
pub(super) fn key_and_home(request: &Parts) -> Option<([u8; 32], HomeUrl)> {
    match credential(&request.headers) {
        Ok(Credential::SiteKey(key)) => Some((secrets::sha256(key), home_url(&request.headers, &request.uri).ok()?)),
        Ok(_) | Err(_) => None,
    }
}

/// The account that the request names, if it names one; `Some(None)` is a name that no account has.
fn named_account(headers: &HeaderMap) -> Option<Option<AccountId>> {
    let mut values = headers.get_all(NAMED_ACCOUNT).iter();
    let number = values.next()?.to_str().ok().and_then(|text| text.trim().parse().ok());
    // Two names are none: which one was meant is not ours to guess.
    Some(number.filter(|_| values.next().is_none()).map(AccountId))
}

/// What a developer without a second factor is told where configuration asks for one.
pub(super) fn not_enrolled() -> Problem {
    Problem::forbidden("mfa_enrollment_required", "Set up your second factor first, at auth/mfa/enroll/.")
}

/// The address that a plugin says it runs at; none where it says nothing.
fn home_url(headers: &HeaderMap, uri: &Uri) -> Outcome<HomeUrl> {
    let in_query =
        |uri: &Uri| form_urlencoded::parse(uri.query()?.as_bytes()).find(|(name, _)| name == "home_url").map(|(_, text)| text.into_owned());
    let text = match headers.get(HOME_URL) {
        Some(value) => std::str::from_utf8(value.as_bytes()).ok().map(HomeUrl::parse),
        None => Some(in_query(uri).map_or(Ok(HomeUrl(None)), |text| HomeUrl::parse(&text))),
    };
    text.and_then(Result::ok)
        .ok_or_else(|| Problem::invalid_field("home_url", "Give the site's home address, such as https://garden.example.com."))
}

fn not_staff() -> Problem {
    Problem::forbidden("developer_required", "Only the platform's developers may name another account; leave out X-Account-Id.")
}

/// What a request proves itself with.
enum Credential<'a> {
    Token(&'a str),
    SiteKey(&'a str),
    Cookie,
    None,
}

fn credential(headers: &HeaderMap) -> Outcome<Credential<'_>> {
    let malformed =
        || Problem::unauthenticated("malformed_credentials", "Send one `Authorization: Bearer …` header with a token or a site key.");
    if headers.get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(malformed());
    }
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| malformed())?;
        let (scheme, bearer) = text.split_once(' ').ok_or_else(malformed)?;
        let bearer = bearer.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || bearer.is_empty() {
            return Err(malformed());
        }
        // A token has two dots; a key, ours or the old system's, has none.
        return Ok(if bearer.contains('.') { Credential::Token(bearer) } else { Credential::SiteKey(bearer) });
    }
    for name in ["x-igny8-api-key", "x-api-key"] {
        if let Some(value) = headers.get(name) {
            return value.to_str().map(|key| Credential::SiteKey(key.trim())).map_err(|_| malformed());
        }
    }
    let is_session = |cookies: &HeaderValue| {
        let text = String::from_utf8_lossy(cookies.as_bytes()).into_owned();
        text.split(';').any(|pair| pair.trim_start().starts_with("sessionid="))
    };
    Ok(if headers.get_all(header::COOKIE).iter().any(is_session) { Credential::Cookie } else { Credential::None })
}
