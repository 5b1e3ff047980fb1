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
        if token.len() > TOKEN_BYTES_MAX || !has_exact_header(token) {
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
mod tests {
    use super::*;
    use crate::{
        auth::model::Role,
        ids::{AccountId, UserId},
    };
    use chrono::TimeDelta;
    use serde_json::{Value, json};

    const SECRET: &str = "a secret of thirty-two bytes and more";
    const FORMER: &str = "another secret of thirty-two bytes and more";

    fn tokens(current: &str, previous: &[&str]) -> Tokens {
        Tokens::new(&TokenSecrets { current: current.into(), previous: previous.iter().map(|&key| key.into()).collect() })
    }

    fn instant() -> Timestamp {
        Timestamp::from_timestamp(1_772_323_200, 999_999_000).unwrap()
    }

    fn draft(token_type: TokenType) -> Draft {
        Draft {
            holder: Holder { user: UserId(7), account: Some(AccountId(29)), role: Role::Owner },
            session: SessionId(Uuid::from_u128(5)),
            token_type,
            token_id: Uuid::from_u128(6),
            expires_at: instant() + TimeDelta::hours(1),
        }
    }

    fn claims() -> Value {
        json!({
            "user_id": 7, "account_id": 29, "role": "owner", "token_type": "access", "iat": 1_772_323_200, "exp": 1_772_326_800,
            "jti": Uuid::from_u128(6), "iss": "igny8", "aud": "igny8-api", "sid": Uuid::from_u128(5),
        })
    }

    /// A token with that header and those claims as text, signed by HMAC-SHA-256 with the secret.
    fn forge(header: &str, claims: &str, secret: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    #[test]
    fn a_token_works_until_its_last_second_and_not_in_it() {
        let tokens = tokens(SECRET, &[]);
        let token = tokens.sign(&draft(TokenType::Access), instant()).unwrap();
        let expires_at = Timestamp::from_timestamp(1_772_323_200 + 3_600, 0).unwrap();

        let read = |now| tokens.read(&token, TokenType::Access, now).map(|claims| claims.user_id);

        assert_eq!(read(instant()), Ok(UserId(7)));
        assert_eq!(read(expires_at - TimeDelta::microseconds(1)), Ok(UserId(7)));
        assert_eq!(read(expires_at), Err(TokenRefused::Expired));
        assert_eq!(read(expires_at + TimeDelta::seconds(1)), Err(TokenRefused::Expired));
    }

    #[test]
    fn a_previous_secret_is_accepted_and_a_forgotten_one_is_not() {
        let old = tokens(FORMER, &[]).sign(&draft(TokenType::Access), instant()).unwrap();

        let read = |tokens: Tokens| tokens.read(&old, TokenType::Access, instant()).is_ok();

        assert!(read(tokens(SECRET, &[FORMER])));
        assert!(!read(tokens(SECRET, &[])));
    }

    #[test]
    fn one_kind_is_never_taken_for_the_other() {
        let tokens = tokens(SECRET, &[]);
        let refresh = tokens.sign(&draft(TokenType::Refresh), instant()).unwrap();

        assert_eq!(tokens.read(&refresh, TokenType::Access, instant()), Err(TokenRefused::Invalid));
        assert!(tokens.read(&refresh, TokenType::Refresh, instant()).is_ok());
    }

    #[test]
    fn only_the_exact_header_is_read() {
        let tokens = tokens(SECRET, &[]);
        let read = |header: &str| tokens.read(&forge(header, &claims().to_string(), SECRET), TokenType::Access, instant()).is_ok();

        assert!(read(HEADER) && read(r#"{"typ":"JWT","alg":"HS256"}"#));
        for header in [
            r#"{"alg":"none","typ":"JWT"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"alg":"HS384","typ":"JWT"}"#,
            r#"{"alg":"HS512","typ":"JWT"}"#, r#"{"alg":"RS256","typ":"JWT"}"#, r#"{"alg":"ES256","typ":"JWT"}"#,
            r#"{"alg":"hs256","typ":"JWT"}"#, r#"{"typ":"JWT"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","typ":"jwt"}"#,
            r#"{"alg":"HS256","typ":"JWT","kid":"../../dev/null"}"#, r#"{"alg":"HS256","typ":"JWT","crit":["exp"]}"#,
            r#"{"alg":"HS256","typ":"JWT","jku":"https://evil.example"}"#, r#"{"alg":"HS256","typ":"JWT","cty":"JWT"}"#,
            r#"{"alg":"HS256","typ":"JWT","jwk":{"kty":"oct","k":"AAAA"}}"#, r#"{"alg":"HS256","typ":"JWT","zip":"DEF"}"#,
            r#"{"alg":"HS256","alg":"none","typ":"JWT"}"#, r#"["HS256","JWT","x"]"#, "", "null",
        ] {
            assert!(!read(header), "{header}");
        }
    }

    #[test]
    fn claims_that_are_missing_doubled_foreign_or_too_many_are_refused() {
        let tokens = tokens(SECRET, &[]);
        let read = |claims: &str| tokens.read(&forge(HEADER, claims, SECRET), TokenType::Access, instant());
        let changed = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            claims.to_string()
        };

        assert!(read(&claims().to_string()).is_ok());
        for (name, value) in [
            ("iss", json!("igny9")), ("iss", json!(["igny8"])), ("aud", json!("other")), ("aud", json!(["igny8-api", "other"])),
            ("token_type", json!("refresh")), ("token_type", json!(null)), ("role", json!("root")), ("user_id", json!("7")),
            ("exp", json!("1772326800")), ("exp", json!(1.8e9)), ("exp", json!(null)), ("sid", json!("x")), ("nbf", json!(0)), ("admin", json!(true)),
        ] {
            assert_eq!(read(&changed(name, value.clone())), Err(TokenRefused::Invalid), "{name} {value}");
        }
        for name in ["user_id", "role", "token_type", "iat", "exp", "jti", "iss", "aud", "sid"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            assert_eq!(read(&claims.to_string()), Err(TokenRefused::Invalid), "without {name}");
        }
        let doubled = claims().to_string().replacen('{', r#"{"user_id":1,"#, 1);
        assert_eq!(read(&doubled), Err(TokenRefused::Invalid), "{doubled}");
    }

    #[test]
    fn bent_texts_are_refused() {
        let tokens = tokens(SECRET, &[]);
        let good = forge(HEADER, &claims().to_string(), SECRET);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = message.split_once('.').unwrap();
        let other_last = if signature.ends_with('A') { "B" } else { "A" };

        let read = |token: &str| tokens.read(token, TokenType::Access, instant()).is_ok();

        assert!(read(&good));
        for bent in [
            format!("{message}."), message.to_owned(), format!("{good}."), format!(".{good}"), format!("{good}="), format!("{good} "),
            format!("{good}A"), format!("{header}=.{payload}.{signature}"), format!("{header}.{payload}=.{signature}"),
            format!("{header}.{payload}.{}{other_last}", &signature[..signature.len() - 1]), format!("{header}..{signature}"),
            format!("{header}.{payload}\n.{signature}"), format!("{header}.{payload}+.{signature}"), "..".to_owned(), String::new(),
            forge(HEADER, &claims().to_string(), FORMER), forge(HEADER, &claims().to_string(), ""),
        ] {
            assert!(!read(&bent), "{bent}");
        }
        let huge = claims().to_string().replace("igny8-api", &"a".repeat(TOKEN_BYTES_MAX));
        assert!(!read(&forge(HEADER, &huge, SECRET)));
    }
}
