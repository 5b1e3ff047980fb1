//! Signs and reads tokens, hashes and compares passwords: what signing in needs and keeps in memory.

pub use super::hashing::{HashingError, HashingLoad, Place};
use super::{
    hashing::Hashing,
    model::{Claims, HashingCost, Holder, Password, Term, TokenPair, TokenType},
    passwords::{self, Match, NotHashed},
    rules,
    tokens::{Draft, NotSigned, TOKEN_BYTES_MAX, TokenRefused, TokenSecrets, Tokens},
};
use crate::{
    clock::Timestamp,
    config::{Config, JWT_SECRET_BYTES_MIN},
    db::Pool,
    ids::{SessionId, UserId},
    mail::service::Outbox,
    sealing::Vault,
    secrets,
};
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use uuid::Uuid;

/// Access tokens that are known at the most, some 250 bytes each; those asked for least are forgotten first.
const READ_BEFORE_MAX: usize = 65_536;

/// What a service needs to sign somebody in.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    /// The database.
    pub pool: &'a Pool,
    /// Tokens and passwords.
    pub authenticator: &'a Authenticator,
    /// Length of trials, of passwords, of the grace.
    pub config: &'a Config,
}

impl<'a> Desk<'a> {
    /// Where mails are written.
    pub fn outbox(self) -> Outbox<'a> {
        Outbox { vault: &self.authenticator.vault, app_url: &self.config.app_url }
    }
}

/// Why tokens and passwords can't be served at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticatorError {
    /// A key that can be guessed.
    #[error("a token secret is shorter than {JWT_SECRET_BYTES_MIN} bytes")]
    SecretTooShort,
    /// Signing and reading do not fit together in this build.
    #[error("the self-test of tokens failed")]
    Tokens,
    /// Hashing and comparing do not fit together in this build.
    #[error("the self-test of passwords failed")]
    Passwords,
    /// Sealing and opening do not fit together in this build.
    #[error("the self-test of sealing failed")]
    Sealing,
}

impl From<NotHashed> for HashingError {
    fn from(_: NotHashed) -> Self {
        HashingError::Failed
    }
}

/// A pair of tokens with the refresh token's id, which is what is stored of it.
#[derive(Debug, Clone)]
pub struct IssuedPair {
    /// For the client.
    pub pair: TokenPair,
    /// For the database.
    pub refresh_id: Uuid,
}

/// Tokens and passwords. One instance per process: it bounds how many hashes are computed at once.
pub struct Authenticator {
    tokens: Tokens,
    /// Access tokens that our key has signed, by their SHA-256.
    read_before: Cache<[u8; 32], Arc<Claims>>,
    vault: Vault,
    cost: HashingCost,
    /// Compared when there is nothing to compare with, so that an unknown user costs what a wrong password costs.
    decoy: String,
    hashing: Hashing,
}

impl Authenticator {
    /// Takes the secrets and proves that signing, reading, hashing and comparing work, before anybody relies on them.
    pub fn new(cost: HashingCost, secrets: &TokenSecrets) -> Result<Self, AuthenticatorError> {
        let mut keys = std::iter::once(&secrets.current).chain(&secrets.previous);
        let vault = Vault::new(keys.clone()).map_err(|_| AuthenticatorError::Sealing)?;
        if keys.any(|key| key.expose_secret().len() < JWT_SECRET_BYTES_MIN) {
            return Err(AuthenticatorError::SecretTooShort);
        }
        let tokens = Tokens::new(secrets);
        test_tokens(&tokens).ok_or(AuthenticatorError::Tokens)?;
        test_sealing(&vault).ok_or(AuthenticatorError::Sealing)?;
        let decoy = test_passwords(cost).ok_or(AuthenticatorError::Passwords)?;
        let read_before = Cache::new(READ_BEFORE_MAX);
        Ok(Authenticator { tokens, read_before, vault, cost, decoy, hashing: Hashing::new() })
    }

    /// How busy hashing is just now.
    pub fn load(&self) -> HashingLoad {
        self.hashing.load()
    }

    /// Joins the queue of passwords. Whoever is going to compare one may do so before he asks the database for anything: in a
    /// flood those who are sent away then cost it nothing.
    pub fn join(&self) -> Result<Place, HashingError> {
        self.hashing.join()
    }

    /// Seals what must not be read in the database.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Reads an access token that is valid at `now`. Whether its session still lives is the gate's question.
    ///
    /// One that was read before is known by its own SHA-256: nobody can write another text with the same one. Only its time is
    /// looked at again, so that a request doesn't pay for the same signature over and over.
    pub fn read_access(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, TokenRefused> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenRefused::Invalid);
        }
        let name = secrets::sha256(token);
        if let Some(claims) = self.read_before.get(&name) {
            return if now.timestamp() < claims.exp { Ok(claims) } else { Err(TokenRefused::Expired) };
        }
        let claims = Arc::new(self.tokens.read(token, TokenType::Access, now)?);
        self.read_before.insert(name, Arc::clone(&claims));
        Ok(claims)
    }

    /// Reads a refresh token that is valid at `now`.
    pub fn read_refresh(&self, token: &str, now: Timestamp) -> Result<Claims, TokenRefused> {
        self.tokens.read(token, TokenType::Refresh, now)
    }

    /// Signs a fresh pair. Neither token outlives the session, whose term has an end however often it is refreshed.
    pub fn issue(&self, holder: Holder, session: SessionId, term: Term, now: Timestamp) -> Result<IssuedPair, NotSigned> {
        let whole = |instant: Timestamp| Timestamp::from_timestamp(instant.timestamp(), 0).unwrap_or(instant);
        let refresh_expires_at = whole(rules::refresh_ends_at(term, now));
        let access_expires_at = whole(now + rules::access_life()).min(refresh_expires_at);
        let access =
            Draft { holder, session, token_type: TokenType::Access, token_id: secrets::random_uuid(), expires_at: access_expires_at };
        let refresh = Draft { token_type: TokenType::Refresh, token_id: secrets::random_uuid(), expires_at: refresh_expires_at, ..access };
        let pair = TokenPair {
            access: self.tokens.sign(&access, now)?,
            refresh: self.tokens.sign(&refresh, now)?,
            access_expires_at,
            refresh_expires_at,
        };
        Ok(IssuedPair { pair, refresh_id: refresh.token_id })
    }

    /// Hashes a password. Call it before a transaction begins: it takes a while.
    pub async fn hash(&self, password: &Password) -> Result<String, HashingError> {
        let (password, cost) = (password.clone(), self.cost);
        let salt = secrets::random_bytes();
        let place = self.join()?;
        Ok(self.hashing.run(place, move || passwords::hash_password(&password, salt, cost)).await??)
    }

    /// Compares a password with what is stored, if anything is. Takes its time in either case.
    ///
    /// A hash of the old system takes longer than ours: until its user has logged in once, which replaces it, a patient
    /// observer can tell that he is one of those who were imported. To make everybody wait as long would give each wrong
    /// password the cost of the dearest.
    pub async fn compare(&self, password: &Password, stored: Option<&str>) -> Result<Match, HashingError> {
        self.compare_at(self.join()?, password, stored).await
    }

    /// The same, of somebody who has joined the queue before.
    pub async fn compare_at(&self, place: Place, password: &Password, stored: Option<&str>) -> Result<Match, HashingError> {
        let stored = stored.filter(|stored| passwords::can_match(stored));
        let (password, cost) = (password.clone(), self.cost);
        let (is_decoy, hash) = (stored.is_none(), stored.unwrap_or(&self.decoy).to_owned());
        let found = self.hashing.run(place, move || passwords::verify_password(&password, &hash, cost)).await?;
        Ok(if is_decoy { Match::No } else { found })
    }
}

/// Signs a token and reads it; a changed one, one of the other kind and a late one must be refused.
fn test_tokens(tokens: &Tokens) -> Option<()> {
    let now = Timestamp::UNIX_EPOCH;
    let draft = Draft {
        holder: Holder { user: UserId(1), account: None, role: super::model::Role::Viewer },
        session: SessionId(Uuid::nil()),
        token_type: TokenType::Access,
        token_id: Uuid::nil(),
        expires_at: now + rules::access_life(),
    };
    let token = tokens.sign(&draft, now).ok()?;
    let (_, signature) = token.rsplit_once('.')?;
    let changed = tokens.sign(&Draft { holder: Holder { user: UserId(2), ..draft.holder }, ..draft }, now).ok()?;
    let (message, _) = changed.rsplit_once('.')?;
    let is_read = tokens.read(&token, TokenType::Access, now).is_ok_and(|claims| claims.user_id == UserId(1));
    let is_refused = tokens.read(&format!("{message}.{signature}"), TokenType::Access, now).is_err()
        && tokens.read(&token, TokenType::Refresh, now).is_err()
        && tokens.read(&token, TokenType::Access, draft.expires_at).is_err();
    (is_read && is_refused).then_some(())
}

/// Seals something and opens it; in another place it must not open.
fn test_sealing(vault: &Vault) -> Option<()> {
    let sealed = vault.seal("here", b"plain").ok()?;
    let is_sound = vault.open("here", &sealed).is_ok_and(|opened| opened == b"plain") && vault.open("there", &sealed).is_err();
    is_sound.then_some(())
}

/// Hashes a random password and compares it. Gives the hash, which nobody knows a password for.
fn test_passwords(cost: HashingCost) -> Option<String> {
    let password = Password(SecretString::from(secrets::random_token()));
    let other = Password(SecretString::from(secrets::random_token()));
    let hash = passwords::hash_password(&password, secrets::random_bytes(), cost).ok()?;
    let is_sound =
        passwords::verify_password(&password, &hash, cost) == Match::Yes && passwords::verify_password(&other, &hash, cost) == Match::No;
    is_sound.then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets_of(key: &str) -> TokenSecrets {
        TokenSecrets { current: key.into(), previous: Vec::new() }
    }

    fn password(text: &str) -> Password {
        Password(SecretString::from(text))
    }

    #[test]
    fn a_short_secret_or_an_impossible_cost_is_refused_at_start() {
        let short = Authenticator::new(HashingCost::TESTS, &secrets_of("short")).err();
        let costless = HashingCost { memory_kib: 0, passes: 0 };
        let impossible = Authenticator::new(costless, &secrets_of(&"k".repeat(32))).err();

        assert_eq!(short, Some(AuthenticatorError::SecretTooShort));
        assert_eq!(impossible, Some(AuthenticatorError::Passwords));
    }

    #[test]
    fn a_token_that_was_read_before_ends_all_the_same_and_lends_its_name_to_no_other() {
        let authenticator = Authenticator::new(HashingCost::TESTS, &secrets_of(&"k".repeat(32))).unwrap();
        let holder = Holder { user: UserId(7), account: None, role: super::super::model::Role::Owner };
        let now = Timestamp::UNIX_EPOCH;
        let issued = authenticator
            .issue(holder, SessionId(Uuid::nil()), Term { stay: super::super::model::Stay::Usual, started_at: now }, now)
            .unwrap();
        let (access, ends_at) = (issued.pair.access, issued.pair.access_expires_at);

        let read = |token: &str, now| authenticator.read_access(token, now).map(|claims| claims.user_id);

        assert_eq!((read(&access, now), read(&access, now)), (Ok(UserId(7)), Ok(UserId(7))));
        assert_eq!(read(&access, ends_at), Err(TokenRefused::Expired));
        assert_eq!(read(&format!("{access}A"), now), Err(TokenRefused::Invalid));
        assert_eq!(read(&issued.pair.refresh, now), Err(TokenRefused::Invalid));
    }

    #[tokio::test]
    async fn what_is_stored_decides_and_nothing_stored_matches_nothing() {
        let authenticator = Authenticator::new(HashingCost::TESTS, &secrets_of(&"k".repeat(32))).unwrap();
        let hash = authenticator.hash(&password("correct horse")).await.unwrap();

        let compare = |text, stored| {
            let (authenticator, password) = (&authenticator, password(text));
            async move { authenticator.compare(&password, stored).await.unwrap() }
        };

        assert_eq!(compare("correct horse", Some(hash.as_str())).await, Match::Yes);
        assert_eq!(compare("wrong horse", Some(hash.as_str())).await, Match::No);
        assert_eq!(compare("correct horse", Some("!")).await, Match::No);
        assert_eq!(compare("correct horse", None).await, Match::No);
    }
}
