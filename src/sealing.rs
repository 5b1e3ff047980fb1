//! What must stand in the database and must not be read there: sealed under a key that the database does not have.
//!
//! AES-256-GCM. The key is derived (HKDF-SHA-256) from the secret that signs tokens, so that there is one secret to keep and
//! to rotate; what a previous secret sealed is still opened while that one is configured. Once it is forgotten, mails that
//! still wait are given up, and second factors of users who did not log in meanwhile are reset by staff (.env.example).

use crate::secrets;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
};
use secrecy::{ExposeSecret as _, SecretString};

/// Another use of the same secret would name another salt: so no two keys are ever the same.
const SALT: &[u8] = b"igny8 sealing v1";
/// The first byte of all that is sealed: the way it is sealed.
const VERSION: u8 = 1;

/// It could not be sealed; ours to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it could not be sealed")]
pub struct NotSealed;

/// No secret of ours sealed it, not for this place, or it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no secret of ours opens it")]
pub struct NotOpened;

/// Seals and opens.
#[derive(Debug)]
pub struct Vault {
    /// The sealing key first.
    keys: Vec<LessSafeKey>,
}

impl Vault {
    /// Takes the secrets, the present one first.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a SecretString>) -> Result<Self, NotSealed> {
        let key = |secret: &SecretString| {
            let derived = Salt::new(HKDF_SHA256, SALT).extract(secret.expose_secret().as_bytes());
            let key = derived.expand(&[b"aes-256-gcm"], &AES_256_GCM).map_err(|_| NotSealed)?;
            Ok(LessSafeKey::new(UnboundKey::from(key)))
        };
        Ok(Vault { keys: secrets.map(key).collect::<Result<_, _>>()? })
    }

    /// Seals bytes for one place, such as `mail:welcome:7`: moved to another row they can't be opened.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let key = self.keys.first().ok_or(NotSealed)?;
        let nonce = secrets::random_bytes::<NONCE_LEN>();
        let mut body = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place.as_bytes()), &mut body).map_err(|_| NotSealed)?;
        Ok([&[VERSION], nonce.as_slice(), &body].concat())
    }

    /// Opens what was sealed for the same place.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (version, rest) = sealed.split_first().ok_or(NotOpened)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(NotOpened)?;
        let open = |key: &LessSafeKey| {
            // Opened in place, which leaves nothing of use when it fails: each key gets a copy.
            let mut body = body.to_vec();
            let length = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place.as_bytes()), &mut body).ok()?.len();
            body.truncate(length);
            Some(body)
        };
        let opened = self.keys.iter().find_map(open).filter(|_| *version == VERSION);
        opened.ok_or(NotOpened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(secrets: &[&str]) -> Vault {
        let secrets = secrets.iter().map(|&secret| SecretString::from(secret)).collect::<Vec<_>>();
        Vault::new(secrets.iter()).unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_in_its_place_and_in_no_other() {
        let vault = vault(&["the secret of this month"]);

        let sealed = vault.seal("mail:1", b"a live token").unwrap();

        assert_eq!(vault.open("mail:1", &sealed), Ok(b"a live token".to_vec()));
        assert_eq!(vault.open("mail:2", &sealed), Err(NotOpened));
        assert!(!sealed.windows(5).any(|part| part == b"token"));
        assert_ne!(vault.seal("mail:1", b"a live token").unwrap(), sealed, "never sealed twice alike");
    }

    #[test]
    fn a_previous_secret_opens_and_does_not_seal_and_a_forgotten_one_does_neither() {
        let (former, present) = (vault(&["the secret of last month"]), vault(&["the secret of this month", "the secret of last month"]));

        let (old, new) = (former.seal("x", b"old").unwrap(), present.seal("x", b"new").unwrap());

        assert_eq!(present.open("x", &old), Ok(b"old".to_vec()));
        assert_eq!(former.open("x", &new), Err(NotOpened));
        assert_eq!(vault(&["the secret of this month"]).open("x", &old), Err(NotOpened));
    }

    #[test]
    fn what_was_changed_or_cut_is_not_opened() {
        let vault = vault(&["the secret of this month"]);
        let sealed = vault.seal("x", b"plain").unwrap();

        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(vault.open("x", &changed), Err(NotOpened), "byte {at}");
            assert_eq!(vault.open("x", &sealed[..at]), Err(NotOpened), "cut at {at}");
        }
    }
}
