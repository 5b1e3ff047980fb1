//! Who pays for a spend: somebody whom the gate let in, or somebody who is taken on trust until the ledger's statement has
//! compared what that rests on.

use super::{
    caller::{Caller, Spender, spender},
    identity::{key_and_home, prove},
    problem::{Outcome, Problem},
};
use crate::{
    clock::Timestamp,
    credits::{
        batch::rules::{Asked, Warrant},
        holds::model::Reach,
        model::Pools,
    },
    gate::{
        self,
        acquaintances::{Acquaintance, Who},
        model::{Intent, Principal, Ticket},
    },
    ids::AccountId,
    state::AppState,
};
use axum::{extract::FromRequestParts, http::request::Parts};
use std::sync::Arc;

/// Who pays.
#[derive(Debug, Clone)]
pub enum Payer {
    /// He passed the gate.
    Known(Box<Spender>),
    /// He passed it before. He must not be told or given anything before [`Payer::prove`], or a statement that compared his
    /// authority, has said that he still may.
    OnTrust(Acquaintance),
}

impl FromRequestParts<AppState> for Payer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.remove::<Acquaintance>() {
            return Ok(Payer::OnTrust(known));
        }
        let spender = Spender::from_request_parts(parts, state).await?;
        match parts.extensions.get::<Arc<Principal>>().map(|principal| &**principal) {
            Some(Principal::Person(person)) => state.acquaintances.remember(person),
            Some(Principal::Site(site)) => {
                if let Some((key_sha256, home)) = key_and_home(parts) {
                    state.acquaintances.remember_site(site, key_sha256, home);
                }
            }
            None => {}
        }
        Ok(Payer::Known(Box::new(spender)))
    }
}

impl Payer {
    /// The account that pays.
    pub fn account(&self) -> AccountId {
        match self {
            Payer::Known(spender) => spender.account.id,
            Payer::OnTrust(known) => known.account,
        }
    }

    /// How the ledger names him.
    pub fn actor(&self) -> String {
        match self {
            Payer::Known(spender) => spender.actor.clone(),
            Payer::OnTrust(Acquaintance { who: Who::Person { user, .. }, .. }) => format!("user:{user}"),
            Payer::OnTrust(Acquaintance { who: Who::Site { site, .. }, .. }) => format!("site:{site}"),
        }
    }

    /// Which holds he may settle.
    pub fn reach(&self) -> Reach {
        match self {
            Payer::Known(spender) => spender.reach,
            Payer::OnTrust(Acquaintance { who: Who::Person { .. }, .. }) => Reach::Account,
            Payer::OnTrust(Acquaintance { who: Who::Site { .. }, .. }) => Reach::Own,
        }
    }

    /// The account's pools as the gate saw them.
    pub fn guess(&self) -> Option<Pools> {
        match self {
            Payer::Known(spender) => Some(spender.account.pools),
            Payer::OnTrust(_) => None,
        }
    }

    /// What his right to spend rests on.
    pub fn warrant(&self) -> Warrant {
        match self {
            Payer::Known(spender) => Warrant { authority: spender.account.authority, asked: Asked::Now },
            Payer::OnTrust(known) => Warrant { authority: known.authority, asked: Asked::Before },
        }
    }

    /// Asks the gate after all: everything that a request without an acquaintance is asked, but for the limit, which it
    /// has counted against already. Who is let in is remembered anew.
    pub async fn prove(self, state: &AppState, now: Timestamp) -> Outcome<Payer> {
        let Payer::OnTrust(known) = self else { return Ok(self) };
        state.acquaintances.forget(&known.who);
        let principal = match &known.who {
            Who::Person { session, user } => {
                let ticket = Ticket { session: *session, user: *user, named: None };
                Principal::Person(Box::new(prove(state, ticket, Some(known.account), now).await?))
            }
            Who::Site { key_sha256, home, .. } => {
                Principal::Site(Box::new(gate::service::site_of_key_hash(state.lookup(), (key_sha256, home), now).await?))
            }
        };
        let caller = Caller(Arc::new(principal));
        gate::service::admit(&caller.0, Intent::Write)?;
        let spender = spender(&caller)?;
        match (&*caller.0, known.who) {
            (Principal::Person(person), _) => state.acquaintances.remember(person),
            (Principal::Site(site), Who::Site { key_sha256, home, .. }) => state.acquaintances.remember_site(site, key_sha256, home),
            (Principal::Site(_), Who::Person { .. }) => {}
        }
        Ok(Payer::Known(Box::new(spender)))
    }

    /// He and what he sends. Nobody is told what is wrong with a request that he may not send.
    pub async fn with<T>(self, input: Outcome<T>, state: &AppState, now: Timestamp) -> Outcome<(Payer, T)> {
        match input {
            Ok(input) => Ok((self, input)),
            Err(problem) => Err(self.prove(state, now).await.err().unwrap_or(problem)),
        }
    }
}
