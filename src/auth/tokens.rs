//! Rules of tokens: how one is signed, and what is asked of one before a word of it is believed. HS256 and nothing else;
//! time is ours, not the library's.

use super::model::{Claims, Holder, TokenType};
use crate::{clock::Timestamp, ids::SessionId};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use uuid::Uuid;

/// A longer token is refused unread, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// Who issues our tokens.
const ISSUER: &str = "igny8";
/// For whom they are.
const AUDIENCE: &str = "igny8-api";

/// How the tokens begin that we sign: `{"typ":"JWT","alg":"HS256"}`.
const OWN_HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.";

/// Why a token opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not a token of ours, or not of the kind that is wanted here.
    #[error("the token is invalid")]
    Invalid,
    /// It was, until its time was over.
    #[error("the token has expired")]
    Expired,
    /// Session, user or account is over.
    #[error("the token was revoked")]
    Revoked,
}

/// A token could not be signed; ours to mend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token could not be signed")]
pub struct NotSigned;

/// The secrets that tokens are signed with.
#[derive(Clone, Debug)]
pub struct TokenSecrets {
    /// Signs, and is accepted.
    pub current: SecretString,
    /// Accepted while rotating.
    pub previous: Vec<SecretString>,
}

/// A token that is about to be signed.
#[derive(Debug, Clone, Copy)]
pub struct Draft {
    /// Whose it is.
    pub holder: Holder,
    /// His session.
    pub session: SessionId,
    /// Access or refresh.
    pub token_type: TokenType,
    /// Its own id.
    pub token_id: Uuid,
    /// When it stops working; whole seconds count.
    pub expires_at: Timestamp,
}

/// Signs and reads tokens.
pub struct Tokens {
    signing: EncodingKey,
    /// The signing key first.
    accepted: Vec<DecodingKey>,
    validation: Validation,
}

/// A token's header, to the letter: a `kid`, `jku`, `crit` or anything else in it is an attempt to choose the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExactHeader {
    alg: String,
    typ: String,
}

impl Tokens {
    /// Takes the secrets.
    pub fn new(secrets: &TokenSecrets) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        // The library would ask the wall clock; `read` compares with the request's own instant.
        validation.validate_exp = false;
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let keys = std::iter::once(&secrets.current).chain(&secrets.previous);
        Tokens {
            signing: EncodingKey::from_secret(secrets.current.expose_secret().as_bytes()),
            accepted: keys.map(|key| DecodingKey::from_secret(key.expose_secret().as_bytes())).collect(),
            validation,
        }
    }

    /// Signs a token.
    pub fn sign(&self, draft: &Draft, now: Timestamp) -> Result<String, NotSigned> {
        let claims = Claims {
            user_id: draft.holder.user,
            account_id: draft.holder.account,
            role: draft.holder.role,
            token_type: draft.token_type,
            iat: now.timestamp(),
            exp: draft.expires_at.timestamp(),
            jti: draft.token_id,
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sid: draft.session,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(|_| NotSigned)
    }

    /// Reads a token of the wanted kind that is valid at `now`: until its last second, and not in it.
    pub fn read(&self, token: &str, wanted: TokenType, now: Timestamp) -> Result<Claims, TokenRefused> {
        // Ours begin alike; another spelling of the same header is looked at.
        if token.len() > TOKEN_BYTES_MAX || !(token.starts_with(OWN_HEADER) || has_exact_header(token)) {
            return Err(TokenRefused::Invalid);
        }
        let claims = self.verified(token)?;
        let is_ours = claims.iss == ISSUER && claims.aud == AUDIENCE && claims.token_type == wanted;
        if !is_ours {
            return Err(TokenRefused::Invalid);
        }
        if now.timestamp() < claims.exp { Ok(claims) } else { Err(TokenRefused::Expired) }
    }

    /// What the token says, if one of our keys signed it.
    fn verified(&self, token: &str) -> Result<Claims, TokenRefused> {
        for key in &self.accepted {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(read) => return Ok(read.claims),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_) => return Err(TokenRefused::Invalid),
            }
        }
        Err(TokenRefused::Invalid)
    }
}

fn has_exact_header(token: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return false };
    let Ok(json) = URL_SAFE_NO_PAD.decode(header) else { return false };
    serde_json::from_slice::<ExactHeader>(&json).is_ok_and(|header| header.alg == "HS256" && header.typ == "JWT")
}

#[cfg(test)]
mod tests;
