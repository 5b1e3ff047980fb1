//! Rules of passwords: what may become one, and whether one matches what is stored. Hashing is slow by design; the
//! authenticator keeps it off the threads that serve requests.

use super::model::{Email, HashingCost, Password};
use crate::secrets;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version, password_hash::phc::PasswordHash};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{collections::HashSet, sync::LazyLock};
use unicode_normalization::UnicodeNormalization as _;
use utoipa::ToSchema;

/// Fewest characters of a new password; configuration may ask for more.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Most characters of a new password.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;

/// More work than this is no hash of ours or of the old system: it would only keep a core busy.
const PBKDF2_ITERATIONS_MAX: u32 = 2_000_000;
const ARGON2_MEMORY_KIB_MAX: u32 = 131_072;
const ARGON2_PASSES_MAX: u32 = 16;
const HASH_BYTES: usize = 32;

/// What many people take, and so does everybody who guesses; lower case, eight characters or more.
static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());

/// Why a text may not become a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Too few characters.
    #[error("use at least {0} characters")]
    TooShort(usize),
    /// Too many characters.
    #[error("use at most {PASSWORD_CHARS_MAX} characters")]
    TooLong,
    /// On every guesser's list.
    #[error("this password is too common, choose another")]
    Common,
    /// The e-mail address, or what stands before its `@`.
    #[error("do not use your email address as password")]
    IsEmail,
}

/// A password that may become one: 8 to 128 characters in NFKC, and not a common one.
#[derive(Clone, Debug, ToSchema)]
#[schema(value_type = String, format = "password", min_length = 8, max_length = 128, example = "correct horse battery")]
pub struct NewPassword(pub Password);

impl NewPassword {
    /// Reads one.
    pub fn parse(password: Password) -> Result<Self, PasswordFault> {
        let text = canonical(&password);
        let text = text.expose_secret();
        match text.chars().count() {
            ..PASSWORD_CHARS_MIN => Err(PasswordFault::TooShort(PASSWORD_CHARS_MIN)),
            count if count > PASSWORD_CHARS_MAX => Err(PasswordFault::TooLong),
            _ if COMMON.contains(text.to_lowercase().as_str()) => Err(PasswordFault::Common),
            _ => Ok(NewPassword(password)),
        }
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NewPassword::parse(Password::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether it may be this person's password: as long as the configuration asks, and not his address.
pub fn check_password(password: &NewPassword, email: &Email, chars_min: usize) -> Result<(), PasswordFault> {
    let text = canonical(&password.0);
    let lower = text.expose_secret().to_lowercase();
    if text.expose_secret().chars().count() < chars_min {
        return Err(PasswordFault::TooShort(chars_min));
    }
    if lower == email.as_str() || lower == email.local_part() {
        return Err(PasswordFault::IsEmail);
    }
    Ok(())
}

/// Two ways to type one character are one password.
fn canonical(password: &Password) -> SecretString {
    SecretString::from(password.0.expose_secret().nfkc().collect::<String>())
}

/// Whether both are the same password.
pub fn is_same(left: &Password, right: &Password) -> bool {
    secrets::same(canonical(left).expose_secret().as_bytes(), canonical(right).expose_secret().as_bytes())
}

/// The hash could not be computed: the cost is none that the algorithm takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct NotHashed;

/// argon2id in PHC form.
pub fn hash_password(password: &Password, salt: [u8; SALT_BYTES], cost: HashingCost) -> Result<String, NotHashed> {
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(HASH_BYTES)).map_err(|_| NotHashed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(canonical(password).expose_secret().as_bytes(), &salt);
    hash.map(|hash| hash.to_string()).map_err(|_| NotHashed)
}

/// How a password compares with what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// It does not match.
    No,
    /// It matches.
    Yes,
    /// It matches a hash of the old system or of another cost, which is to be replaced.
    YesButOld,
}

/// Whether any password can match it: a hash of ours or of the old system, not `!`.
pub fn can_match(stored: &str) -> bool {
    stored.starts_with("$argon2id$") || stored.starts_with("pbkdf2_sha256$")
}

/// Compares a password with a stored hash.
pub fn verify_password(password: &Password, stored: &str, cost: HashingCost) -> Match {
    if let Some(rest) = stored.strip_prefix("pbkdf2_sha256$") {
        return if matches_django(password, rest).unwrap_or(false) { Match::YesButOld } else { Match::No };
    }
    if !can_match(stored) {
        return Match::No;
    }
    let Ok(hash) = PasswordHash::new(stored) else { return Match::No };
    let Ok(params) = Params::try_from(&hash) else { return Match::No };
    if params.m_cost() > ARGON2_MEMORY_KIB_MAX || params.t_cost() > ARGON2_PASSES_MAX || params.p_cost() > 4 {
        return Match::No;
    }
    let is_right = Argon2::default().verify_password(canonical(password).expose_secret().as_bytes(), &hash).is_ok();
    let is_current = (params.m_cost(), params.t_cost(), params.p_cost()) == (cost.memory_kib, cost.passes, 1);
    match (is_right, is_current) {
        (false, _) => Match::No,
        (true, true) => Match::Yes,
        (true, false) => Match::YesButOld,
    }
}

/// `iterations$salt$hash` as Django writes it: the salt is text, the password is taken byte by byte as it was typed.
fn matches_django(password: &Password, stored: &str) -> Option<bool> {
    let mut parts = stored.split('$');
    let (iterations, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let iterations = iterations.parse::<u32>().ok().filter(|count| (1..=PBKDF2_ITERATIONS_MAX).contains(count))?;
    let hash = STANDARD.decode(hash).ok().filter(|hash| hash.len() == HASH_BYTES && parts.next().is_none() && !salt.is_empty())?;
    let mut computed = [0; HASH_BYTES];
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.0.expose_secret().as_bytes(), salt.as_bytes(), iterations, &mut computed);
    Some(secrets::same(&computed, &hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password(SecretString::from(text))
    }

    #[test]
    fn a_password_has_8_to_128_characters_and_is_not_a_common_one() {
        let fault = |text: &str| NewPassword::parse(password(text)).err();
        assert_eq!(fault("1234567"), Some(PasswordFault::TooShort(8)));
        assert_eq!(fault("äöüßäöü"), Some(PasswordFault::TooShort(8)), "seven characters, whatever their bytes");
        assert_eq!(fault("äöüßäöüx"), None);
        assert_eq!(fault(&"x".repeat(128)), None);
        assert_eq!(fault(&"x".repeat(129)), Some(PasswordFault::TooLong));
        for common in ["password", "PassWord1", "12345678", "qwertyuiop", "iloveyou", "ｐassword"] {
            assert_eq!(fault(common), Some(PasswordFault::Common), "{common}");
        }
        assert!(COMMON.len() > 1_000 && COMMON.iter().all(|common| common.len() >= 8 && common.to_lowercase() == **common));
    }

    #[test]
    fn a_password_is_not_the_address_and_as_long_as_configured() {
        let email = Email::parse("ana.kovac@example.com").unwrap();
        let check = |text: &str, min| check_password(&NewPassword::parse(password(text)).unwrap(), &email, min);
        assert_eq!(check("Ana.Kovac@Example.com", 8), Err(PasswordFault::IsEmail));
        assert_eq!(check("ANA.KOVAC", 8), Err(PasswordFault::IsEmail));
        assert_eq!(check("a long enough one", 18), Err(PasswordFault::TooShort(18)));
        assert_eq!(check("a long enough one", 17), Ok(()));
    }

    #[test]
    fn a_hash_matches_its_password_in_either_spelling_and_no_other() {
        let cost = HashingCost::TESTS;
        let hash = hash_password(&password("caf\u{e9} au lait"), [7; SALT_BYTES], cost).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_eq!(verify_password(&password("caf\u{e9} au lait"), &hash, cost), Match::Yes);
        assert_eq!(verify_password(&password("cafe\u{301} au lait"), &hash, cost), Match::Yes);
        assert_eq!(verify_password(&password("cafe au lait"), &hash, cost), Match::No);
        let dearer = HashingCost { memory_kib: 16, passes: 1 };
        assert_eq!(verify_password(&password("caf\u{e9} au lait"), &hash, dearer), Match::YesButOld);
    }

    #[test]
    fn an_old_hash_matches_and_is_to_be_replaced() {
        // Python: base64(hashlib.pbkdf2_hmac("sha256", b"correct horse battery", b"NaCl0fDj4ng0", 1000)).
        let old = "pbkdf2_sha256$1000$NaCl0fDj4ng0$DZGNLzlzBSR1SarZhqmQALHiOsiwatFcleWJ6bP0+v8=";
        assert_eq!(verify_password(&password("correct horse battery"), old, HashingCost::TESTS), Match::YesButOld);
        assert_eq!(verify_password(&password("correct horse batterz"), old, HashingCost::TESTS), Match::No);
    }

    #[test]
    fn what_is_no_hash_matches_nothing() {
        let hash = "DZGNLzlzBSR1SarZhqmQALHiOsiwatFcleWJ6bP0+v8=";
        let unusable = [
            "!",
            "",
            "!pbkdf2_sha256$1000$NaCl0fDj4ng0$",
            "plain",
            "md5$x$y",
            "$argon2id$",
            "$argon2id$v=19$m=8,t=1,p=1$AAAA",
            "$argon2i$v=19$m=8,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "$argon2id$v=19$m=4000000,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        let bent = [("0", "s"), ("2000001", "s"), ("-1", "s"), ("1e3", "s"), ("1000", ""), ("99999999999", "s")];
        let bent = bent.map(|(iterations, salt)| format!("pbkdf2_sha256${iterations}${salt}${hash}"));
        for stored in unusable.into_iter().map(str::to_owned).chain(bent) {
            assert_eq!(verify_password(&password("correct horse battery"), &stored, HashingCost::TESTS), Match::No, "{stored}");
        }
    }
}
