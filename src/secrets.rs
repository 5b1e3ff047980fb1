//! Everything that must be unguessable, and everything that is kept only as a hash, comes from this file.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

/// What a site key begins with.
pub const SITE_KEY_PREFIX: &str = "igny8_";
const SITE_KEY_RANDOM_CHARS: usize = 43;
const SITE_KEY_CHECKSUM_CHARS: usize = 6;

/// That many random bytes from the operating system's generator.
#[allow(clippy::disallowed_methods, reason = "this is the one place that makes secrets")]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    rand::random()
}

/// A random identifier for sessions and tokens.
#[allow(clippy::disallowed_methods, reason = "this is the one place that makes secrets")]
pub fn random_uuid() -> Uuid {
    Uuid::new_v4()
}

/// A fresh request id.
#[allow(clippy::disallowed_methods, reason = "this is the one place that makes identifiers by chance")]
pub fn request_id() -> String {
    Uuid::now_v7().simple().to_string()
}

/// A random text of 43 characters (256 bits), safe in addresses.
pub fn random_token() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

/// SHA-256 of the parts, each preceded by its length, so that no two different lists of parts collide.
pub fn hash_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 of a text: what is stored of a key or token.
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The same in hexadecimal digits.
pub fn sha256_hex(text: &str) -> String {
    sha256(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares without telling by its time where the difference lies.
pub fn same(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// A new site key: prefix, 256 random bits, checksum. Shown once, then only its hash is kept.
pub fn new_site_key() -> String {
    let random = random_token();
    let checksum = site_key_checksum(&random);
    format!("{SITE_KEY_PREFIX}{random}{checksum}")
}

/// Whether a text with our prefix can be a key of ours, so that a mistyped one is refused without a query.
///
/// Only meaningful for texts that begin with [`SITE_KEY_PREFIX`]; keys of the old system have other forms.
pub fn site_key_is_well_formed(key: &str) -> bool {
    let Some(rest) = key.strip_prefix(SITE_KEY_PREFIX) else { return false };
    if !rest.is_ascii() || rest.len() != SITE_KEY_RANDOM_CHARS + SITE_KEY_CHECKSUM_CHARS {
        return false;
    }
    let (random, checksum) = rest.split_at(SITE_KEY_RANDOM_CHARS);
    same(site_key_checksum(random).as_bytes(), checksum.as_bytes())
}

fn site_key_checksum(random: &str) -> String {
    sha256(random).iter().take(SITE_KEY_CHECKSUM_CHARS / 2).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_key_proves_its_own_spelling() {
        let key = new_site_key();
        assert!(site_key_is_well_formed(&key));
        let mut mistyped = key.clone();
        mistyped.replace_range(10..11, if key.as_bytes()[10] == b'x' { "y" } else { "x" });
        assert!(!site_key_is_well_formed(&mistyped));
        assert!(!site_key_is_well_formed("igny8_"));
        assert!(!site_key_is_well_formed("igny8_ääääääääääääääääääääääää"));
    }

    #[test]
    fn hashed_parts_do_not_run_into_each_other() {
        assert_ne!(hash_parts(&[b"ab", b"c"]), hash_parts(&[b"a", b"bc"]));
    }
}
