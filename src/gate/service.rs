//! Lets people in, looks up who calls by key, and asks the gate.

use super::{
    acquaintances::Acquaintances,
    lookups::{Lookups, Question, Queue},
    model::{Found, Intent, Person, PersonAsked, Principal, SiteAsked, SiteCaller, Ticket, User, Welcome},
    rules::{self, KeyWorth, Refusal},
    store,
};
use crate::{
    accounts::{
        invitations::{
            rules::Acceptance,
            service::{self as invitations, AcceptanceError},
        },
        life::{self, AccountError},
        registration::Registration,
        service::{RegistrationError, prepare, register_in},
    },
    audit::{
        model::{Entry, Origin},
        service::record_in,
    },
    auth::{
        attempts::{self, model::Attempt},
        mfa::model::SecondCode,
        model::{Device, Email, Opened, Password, Role, Visit},
        service::{Desk, Entrance, LoginError, Place, Proof, log_in_in, prove, prove_deleted},
    },
    clock::Timestamp,
    db::{self, Pool, StoreError, Tx},
    ids::AccountId,
    meters::{self, Cause},
    period::days,
    secrets,
    sites::{self, clones::model::OtherHome, model::HomeUrl},
    traces::Step,
};
use chrono::TimeDelta;
use serde_json::json;
use std::sync::Arc;

/// Why a site key opens nothing (contract, section 2).
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    /// No key of ours.
    #[error("no such key")]
    Unknown,
    /// It was, until it was revoked or replaced.
    #[error("the key was revoked")]
    Revoked,
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a caller may not act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The account may not (rule E).
    #[error(transparent)]
    Account(#[from] Refusal),
    /// The site is switched off.
    #[error("the site is inactive")]
    SiteInactive,
    /// The site is beyond what the plan has room for, and wants to do more than read.
    #[error("the site is frozen")]
    SiteFrozen,
    /// The plan has no seat for him, and he wants to do more than read.
    #[error("the seat is frozen")]
    SeatFrozen,
    /// The plugin runs at another address than the site's, and wants to do more than read.
    #[error("the site's address is {}", .0.registered_url)]
    HomeChanged(OtherHome),
}

/// Where people are looked up.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// The database.
    pub pool: &'a Pool,
    /// Who was found before.
    pub acquaintances: &'a Acquaintances,
    /// Where others ask at the same time.
    pub lookups: &'a Lookups,
    /// How long an account may go on after its period's end.
    pub grace: TimeDelta,
}

impl Lookup<'_> {
    /// Asks together with others; alone where that can't be done. No answer is that nobody is there.
    async fn ask<Q: Question>(self, queue: &Queue<Q>, question: Q) -> Result<Option<Q::Answer>, StoreError> {
        match queue.ask(question).await {
            Ok(told) => Ok(Some(told)),
            Err(question) => {
                let mut connection = self.pool.acquire().await?;
                Ok(Q::ask_all(&mut connection, &[question], self.grace).await?.pop())
            }
        }
    }
}

/// The person behind a session, as he stands at `now`; nobody when session, user or account is over. One query, together with others
/// who ask at the same time: where he was found before and nothing of his account has changed, it reads only its credits.
pub async fn person_of(lookup: Lookup<'_>, ticket: Ticket, now: Timestamp) -> Result<Option<Person>, StoreError> {
    let _asking = Step::part("gate.person");
    let known = lookup.acquaintances.recall(ticket, now);
    match lookup.ask(&lookup.lookups.persons, PersonAsked { ticket, known, now }).await? {
        Some(Found::AsKnown(known, pools)) => {
            let mut person = Arc::unwrap_or_clone(known);
            person.user.account.iter_mut().for_each(|account| account.refill(pools));
            Ok(Some(person))
        }
        Some(Found::Anew(person)) => Ok(person.inspect(|person| lookup.acquaintances.keep(person))),
        None => Ok(None),
    }
}

/// The site behind a key, with its account as it stands at `now`. One query, as for persons, and none for what can't be a key.
/// `home` is the address that the plugin says it runs at, if it says so.
pub async fn site_of_key(lookup: Lookup<'_>, (key, home): (&str, &HomeUrl), now: Timestamp) -> Result<SiteCaller, KeyRefused> {
    if !rules::may_be_a_key(key) {
        return Err(KeyRefused::Unknown);
    }
    site_of_key_hash(lookup, (&secrets::sha256(key), home), now).await
}

/// The same for a key of which only the hash is at hand.
pub async fn site_of_key_hash(
    lookup: Lookup<'_>,
    (key_sha256, home): (&[u8; 32], &HomeUrl),
    now: Timestamp,
) -> Result<SiteCaller, KeyRefused> {
    let _asking = Step::part("gate.site_key");
    let Lookup { pool, acquaintances, .. } = lookup;
    let known = acquaintances.recall_site(key_sha256, home, now);
    let place = home.place();
    let asked = SiteAsked { key_sha256: *key_sha256, place: place.clone(), known, now };
    let mut found = match lookup.ask(&lookup.lookups.sites, asked).await? {
        Some(Found::AsKnown(known, pools)) => {
            let mut site = Arc::unwrap_or_clone(known);
            site.account.refill(pools);
            return Ok(site);
        }
        Some(Found::Anew(Some(found))) => found,
        Some(Found::Anew(None)) | None => return Err(KeyRefused::Unknown),
    };
    match rules::worth(&found, now) {
        KeyWorth::Unknown => Err(KeyRefused::Unknown),
        KeyWorth::Revoked => Err(KeyRefused::Revoked),
        KeyWorth::Valid => {
            let noted_at = if rules::use_is_to_be_noted(found.last_used_at, now) {
                note_use(pool.clone(), found.caller.clone(), now);
                now
            } else {
                found.last_used_at.unwrap_or(now)
            };
            // Then its use is to be noted again, which takes a look at the database.
            found.caller.steady_until = found.caller.steady_until.min(noted_at + rules::KEY_USE_NOTED_EVERY);
            found.caller.other_home = sites::clones::rules::other_home(found.caller.site_url.as_deref(), home);
            if let (Some(other), Some(place), false) = (&found.caller.other_home, &place, found.clone_is_known) {
                let (account, site) = (found.caller.account.id, found.caller.site);
                sites::clones::store::insert_clone(pool, account, site, (place, &other.home_url), now).await?;
            }
            acquaintances.keep_site(&found.caller, *key_sha256, home);
            Ok(found.caller)
        }
    }
}

/// Notes that a key was used, in a task of its own.
///
/// Not in the lookup's statement: a write there would make the request wait for the disk, and requests with one key for
/// each other. A note that is lost, by a crash or a busy database, is written by the next request: no answer depends on it.
fn note_use(pool: Pool, caller: SiteCaller, now: Timestamp) {
    tokio::spawn(async move {
        if let Err(error) = store::mark_key_used(&pool, caller.account.id, caller.key, now - rules::KEY_USE_NOTED_EVERY, now).await {
            tracing::warn!(key = caller.key.0, %error, "the use of a site key was not noted");
        }
    });
}

/// Makes an account with its owner and lets him in: one transaction, all or none (A1 to A4).
pub async fn register(desk: Desk<'_>, registration: Registration, origin: &Origin, now: Timestamp) -> Result<Welcome, RegistrationError> {
    let prepared = &prepare(desk, registration).await?;
    let welcome = db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let registered = register_in(&mut tx, desk, prepared, origin, now).await?;
        let user = find_user(&mut tx, desk, &registered.opened, now).await?.ok_or(RegistrationError::Incomplete)?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok::<_, RegistrationError>(Welcome { user, tokens: registered.opened.tokens, intended_plan: registered.intended_plan })
    })
    .await?;
    meters::signed_up();
    meters::granted(Cause::Signup, welcome.user.account.as_ref().map_or(0, |account| account.credits.get()));
    Ok(welcome)
}

/// Makes a user of somebody who was invited, and lets him in: one transaction, all or none.
pub async fn accept(
    desk: Desk<'_>,
    acceptance: Acceptance,
    (device, origin): (&Device, &Origin),
    now: Timestamp,
) -> Result<Welcome, AcceptanceError> {
    let prepared = &invitations::prepare(desk, acceptance, now).await?;
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let opened = invitations::accept_in(&mut tx, desk, prepared, (device, origin), now).await?;
        let user = find_user(&mut tx, desk, &opened, now).await?.ok_or(AcceptanceError::Incomplete)?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Welcome { user, tokens: opened.tokens, intended_plan: None })
    })
    .await
}

/// Leaves word that staff are about to change something of an account that is not theirs. Written before the change, so that
/// none goes without; what then came of it stands in the change's own row.
pub async fn witness(pool: &Pool, (account, origin): (AccountId, &Origin), request: &str, now: Timestamp) -> Result<(), StoreError> {
    let mut tx = db::begin(pool).await?;
    let entry = Entry {
        account: Some(account),
        action: "account.entered_by_staff",
        target: format!("account:{account}"),
        before: json!({}),
        after: json!({ "request": request }),
        reason: None,
        at: now,
    };
    record_in(&mut tx, origin, &entry).await?;
    Ok(tx.commit().await?)
}

/// Somebody at the door.
#[derive(Clone, Debug)]
pub struct Login {
    /// Who he says he is.
    pub email: Email,
    /// How he proves it.
    pub password: Password,
    /// A code, where he has a second factor.
    pub code: Option<SecondCode>,
    /// What his session is to be like.
    pub visit: Visit,
    /// What it counts as when it fails.
    pub attempt: Attempt,
}

/// Compares address and password and lets him in, whatever his account's state: he must be able to pay what he owes. Who has
/// failed too often waits first.
pub async fn log_in(desk: Desk<'_>, login: &Login, now: Timestamp) -> Result<Welcome, LoginError> {
    let place = desk.authenticator.join()?;
    begin(desk, &login.attempt, now).await?;
    let done = try_log_in(desk, place, login, now).await;
    meters::logged_in(done.is_ok());
    if done.as_ref().is_err_and(|error| !error.is_wrong_guess()) {
        take_back(desk, &login.attempt, now).await?;
    }
    done
}

/// Lets an attempt begin, unless it has to wait.
async fn begin(desk: Desk<'_>, attempt: &Attempt, now: Timestamp) -> Result<(), LoginError> {
    if desk.config.throttle_disabled {
        return Ok(());
    }
    attempts::service::begin(desk.pool, attempt, now).await?.map_or(Ok(()), |seconds| Err(LoginError::TooSoon(seconds)))
}

/// Takes an attempt back that was no wrong guess.
async fn take_back(desk: Desk<'_>, attempt: &Attempt, now: Timestamp) -> Result<(), LoginError> {
    if desk.config.throttle_disabled {
        return Ok(());
    }
    Ok(attempts::service::withdraw(desk.pool, attempt, now).await?)
}

async fn try_log_in(desk: Desk<'_>, place: Place, login: &Login, now: Timestamp) -> Result<Welcome, LoginError> {
    let proof = prove(desk, place, &login.email, &login.password).await?;
    match enter(desk, &proof, login, now).await {
        // Of several logins at once only the first replaces an old hash; the others compare once more.
        Err(LoginError::Changed) => {
            let place = desk.authenticator.join()?;
            enter(desk, &prove(desk, place, &login.email, &login.password).await?, login, now).await
        }
        done => done,
    }
}

async fn enter(desk: Desk<'_>, proof: &Proof, login: &Login, now: Timestamp) -> Result<Welcome, LoginError> {
    db::retried(|| async move {
        let mut tx = db::begin(desk.pool).await?;
        let entrance = Entrance { proof, code: login.code.as_ref(), visit: &login.visit };
        let opened = log_in_in(&mut tx, desk.authenticator, entrance, now).await?;
        // Nobody is found behind a deleted account: like an unknown user, and the session is rolled back.
        let user = find_user(&mut tx, desk, &opened, now).await?.ok_or(LoginError::InvalidCredentials)?;
        attempts::service::succeed_in(&mut tx, &login.attempt, opened.user, now).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Welcome { user, tokens: opened.tokens, intended_plan: None })
    })
    .await
}

async fn find_user(tx: &mut Tx, desk: Desk<'_>, opened: &Opened, now: Timestamp) -> Result<Option<User>, StoreError> {
    let _asking = Step::part("gate.person");
    let ticket = Ticket { session: opened.session, user: opened.user, named: None };
    let asked = PersonAsked { ticket, known: None, now };
    let found = store::list_persons(tx, &[asked], days(desk.config.grace_days)).await?.pop();
    Ok(found.and_then(Found::anew).map(|person| person.user))
}

/// Whether the caller may act now: rule E for everybody. A site must be switched on besides, and at home if it does more than
/// read: a staging clone must not spend the credits of the site that it was copied from. Site or person, whom the plan has no room
/// for reads.
pub fn admit(principal: &Principal, intent: Intent) -> Result<(), NotAdmitted> {
    rules::admit(principal.account())?;
    let site = match principal {
        Principal::Site(site) => site,
        Principal::Person(person) if person.user.is_frozen && intent == Intent::Write => return Err(NotAdmitted::SeatFrozen),
        Principal::Person(_) => return Ok(()),
    };
    match (&site.other_home, intent) {
        _ if !site.site_is_active => Err(NotAdmitted::SiteInactive),
        (_, Intent::Write) if site.site_is_frozen => Err(NotAdmitted::SiteFrozen),
        (Some(other), Intent::Write) => Err(NotAdmitted::HomeChanged(other.clone())),
        (Some(_), Intent::Read) | (None, Intent::Read | Intent::Write) => Ok(()),
    }
}

/// Why an account was not taken back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Address and password.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// He is not an owner of the account.
    #[error("only an owner restores an account")]
    NotOwner,
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Takes a deleted account back (H). By address and password, because no token of a deleted account opens anything.
pub async fn restore(
    desk: Desk<'_>,
    (email, password, attempt): (&Email, &Password, &Attempt),
    origin: &Origin,
    now: Timestamp,
) -> Result<(), RestoreError> {
    let place = desk.authenticator.join().map_err(LoginError::from)?;
    begin(desk, attempt, now).await?;
    // Its people went with the account, so they are looked for among the deleted.
    let proven = prove_deleted(desk, place, email, password).await;
    if !proven.as_ref().is_err_and(LoginError::is_wrong_guess) {
        take_back(desk, attempt, now).await?;
    }
    let holder = proven?.ok_or(AccountError::NotFound)?;
    let account = holder.account.filter(|_| holder.role.includes(Role::Owner)).ok_or(RestoreError::NotOwner)?;
    let origin = Origin { actor: format!("user:{}", holder.user), ..origin.clone() };
    Ok(life::restore(desk.pool, account, &origin, now).await?)
}
