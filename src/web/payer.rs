//! Who pays for a spend: somebody whom the gate let in, or a session that is taken on trust until the ledger's statement
//! has asked for it.

use super::{
    caller::{Caller, Spender, member},
    identity::prove,
    problem::{Outcome, Problem},
};
use crate::{
    auth::model::Role,
    clock::Timestamp,
    credits::{batch::rules::Witness, holds::model::Reach, model::Pools},
    gate::{
        self,
        acquaintances::Acquaintance,
        model::{Intent, Principal},
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
    /// His session passed it before. He must not be told or given anything before [`Payer::prove`], or a statement that
    /// asked for his witness, has said that he still may.
    OnTrust(Acquaintance),
}

impl FromRequestParts<AppState> for Payer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        if let Some(known) = parts.extensions.get::<Acquaintance>() {
            return Ok(Payer::OnTrust(*known));
        }
        let spender = Spender::from_request_parts(parts, state).await?;
        if let Some(Principal::Person(person)) = parts.extensions.get::<Arc<Principal>>().map(|principal| &**principal) {
            state.acquaintances.remember(person);
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
            Payer::OnTrust(known) => format!("user:{}", known.user),
        }
    }

    /// Which holds he may settle. Only persons are taken on trust.
    pub fn reach(&self) -> Reach {
        match self {
            Payer::Known(spender) => spender.reach,
            Payer::OnTrust(_) => Reach::Account,
        }
    }

    /// The account's pools as the gate saw them.
    pub fn guess(&self) -> Option<Pools> {
        match self {
            Payer::Known(spender) => Some(spender.account.pools),
            Payer::OnTrust(_) => None,
        }
    }

    /// Whom the spend's statement has to ask for.
    pub fn witness(&self) -> Option<Witness> {
        match self {
            Payer::Known(_) => None,
            Payer::OnTrust(known) => Some(Witness { session: known.session, user: known.user, throttle_factor: known.throttle_factor }),
        }
    }

    /// Asks the gate after all: everything that a request without an acquaintance is asked, but for the limit, which it
    /// has counted against already.
    pub async fn prove(self, state: &AppState, now: Timestamp) -> Outcome<Payer> {
        let Payer::OnTrust(known) = self else { return Ok(self) };
        state.acquaintances.forget(known.session);
        let person = prove(state, known.ticket(), Some(known.account), now).await?;
        state.acquaintances.remember(&person);
        let caller = Caller(Arc::new(Principal::Person(Box::new(person))));
        gate::service::admit(&caller.0, Intent::Write)?;
        let account = member(&caller, Role::Editor)?.account;
        Ok(Payer::Known(Box::new(Spender { account, actor: caller.actor(), reach: Reach::Account })))
    }

    /// He and what he sends. Nobody is told what is wrong with a request that he may not send.
    pub async fn with<T>(self, input: Outcome<T>, state: &AppState, now: Timestamp) -> Outcome<(Payer, T)> {
        match input {
            Ok(input) => Ok((self, input)),
            Err(problem) => Err(self.prove(state, now).await.err().unwrap_or(problem)),
        }
    }
}
