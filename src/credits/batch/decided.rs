//! A batch that is decided: what becomes of its holds, and what each request is answered.

use super::{
    combiner::Outcome,
    rules::{Book, Decision, HoldDone, Wanted, Work, decide},
};
use crate::{
    clock::Timestamp,
    credits::{
        holds::{
            self,
            model::{Captured, Held},
            rules::Change,
        },
        model::{Spend, Transaction, TransactionKind},
        pricing::model::Prices,
        rules::Move,
        service::{CreditError, Receipt, Spent},
    },
    db::StoreError,
    idempotency::{self, model::FirstAnswer},
    ids::AccountId,
    money::Credits,
};
use serde_json::Value;
use sqlx::PgConnection;
use std::collections::HashMap;

/// Requests with their decisions, side by side.
pub(super) struct Decided<'a> {
    /// Where each stands in the batch.
    pub(super) places: Vec<usize>,
    /// The requests.
    pub(super) wanted: Vec<&'a Wanted>,
    /// What becomes of each; none where nothing is known of its account.
    pub(super) decisions: Vec<Option<Decision>>,
    /// What is told of each hold.
    pub(super) answers: Vec<Option<Value>>,
}

impl<'a> Decided<'a> {
    /// Decides them in their order. `book` is left as they leave it.
    pub(super) fn of(requests: Vec<(usize, &'a Wanted)>, prices: &Prices, book: &mut Book) -> Result<Self, StoreError> {
        let (places, wanted): (Vec<usize>, Vec<&Wanted>) = requests.into_iter().unzip();
        let decisions = decide(&wanted, prices, book);
        let told =
            wanted.iter().zip(&decisions).map(|(wanted, decision)| decision.as_ref().map_or(Ok(None), |decision| told(wanted, decision)));
        let answers = told.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Decided { places, wanted, decisions, answers })
    }

    /// Whether it writes to the account's ledger.
    pub(super) fn has_entries(&self, account: AccountId) -> bool {
        let is_entry = |decision: &Option<Decision>| match decision {
            Some(Decision::Write(_)) => true,
            Some(Decision::Hold(done)) => matches!(done.change, Change::Captured { .. }),
            _ => false,
        };
        self.wanted.iter().zip(&self.decisions).any(|(wanted, decision)| wanted.account == account && is_entry(decision))
    }

    /// Writes what becomes of the holds of those accounts whose entries are written, and the answers to keys. Gives what is held
    /// of each after it.
    pub(super) async fn write_holds(
        &self,
        connection: &mut PgConnection,
        is_certain: impl Fn(AccountId) -> bool,
    ) -> Result<HashMap<AccountId, Credits>, StoreError> {
        let (mut placed, mut settled, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for ((wanted, decision), answer) in self.wanted.iter().zip(&self.decisions).zip(&self.answers) {
            let (Some(Decision::Hold(done)), true) = (decision, is_certain(wanted.account)) else { continue };
            let (changed, status) = match &done.change {
                Change::Placed(_) => (&mut placed, 201),
                Change::Captured { .. } => (&mut settled, 201),
                Change::Released(_) => (&mut settled, 200),
            };
            changed.push((wanted.account, done.change.hold()));
            if let (Some(keyed), Some(answer)) = (&wanted.key, answer) {
                kept.push((wanted.account, keyed, FirstAnswer { status, answer: answer.clone() }, wanted.now));
            }
        }
        let mut accounts = placed.iter().chain(&settled).map(|(account, _)| account.0).collect::<Vec<_>>();
        accounts.sort_unstable();
        accounts.dedup();
        if accounts.is_empty() {
            return Ok(HashMap::new());
        }
        // In this order: a hold may be placed and settled in one batch.
        if !placed.is_empty() {
            holds::store::insert_holds(connection, &placed).await?;
        }
        if !settled.is_empty() {
            holds::store::mark_settled(connection, &settled).await?;
        }
        if !kept.is_empty() {
            idempotency::store::insert_keys(connection, &kept).await?;
        }
        let keyed = kept.iter().map(|(account, ..)| account.0).collect::<Vec<_>>();
        holds::store::recount(connection, &accounts, &keyed).await
    }

    /// Answers work on holds whose commit was lost with the connection and that no key can find again: it may be done, and is
    /// never done twice.
    pub(super) fn give_up_unkeyed_holds(&self, outcomes: &mut [Outcome]) {
        for ((place, wanted), decision) in self.places.iter().zip(&self.wanted).zip(&self.decisions) {
            if let (Some(Decision::Hold(_)), None, Some(outcome)) = (decision, &wanted.key, outcomes.get_mut(*place)) {
                *outcome = Some(Err(CreditError::Busy));
            }
        }
    }

    /// Writes down the outcomes of those accounts whose decisions are committed, or were decided under their lock.
    pub(super) fn settle(&self, outcomes: &mut [Outcome], is_certain: impl Fn(AccountId) -> bool) {
        for (at, wanted) in self.wanted.iter().enumerate() {
            let (Some(Some(decision)), true) = (self.decisions.get(at), is_certain(wanted.account)) else { continue };
            let outcome = match decision {
                Decision::Write(_) | Decision::Hold(_) => self.receipt(at).map(Spent::New),
                Decision::SameAs(first) => self.receipt(*first).map(Spent::Replayed),
                Decision::KeyReused => Err(CreditError::KeyReused),
                Decision::Refused(refused) => Err(CreditError::Refused(*refused)),
                Decision::HoldRefused(refused) => Err(CreditError::Hold(*refused)),
            };
            if let Some(slot) = self.places.get(at).and_then(|place| outcomes.get_mut(*place)) {
                *slot = Some(outcome);
            }
        }
    }

    /// What the request at that place is told of its effect.
    fn receipt(&self, at: usize) -> Result<Receipt, CreditError> {
        match (self.wanted.get(at), self.decisions.get(at)) {
            (Some(Wanted { work: Work::Debit(spend), now, .. }), Some(Some(Decision::Write(moved)))) => {
                Ok(Receipt::Entry(transaction(spend, moved, *now)))
            }
            (_, Some(Some(Decision::Hold(_)))) => self.answers.get(at).cloned().flatten().map(Receipt::Hold).ok_or(CreditError::Busy),
            _ => Err(CreditError::Busy),
        }
    }
}

/// What a hold's change is told as.
fn told(wanted: &Wanted, decision: &Decision) -> Result<Option<Value>, StoreError> {
    let Decision::Hold(done) = decision else { return Ok(None) };
    let HoldDone { change, available, balance } = &**done;
    let (hold, available, balance) = (change.hold().clone(), *available, *balance);
    let told = match change {
        Change::Placed(_) | Change::Released(_) => serde_json::to_value(Held { hold, available }),
        Change::Captured { spend, moved, .. } => {
            serde_json::to_value(Captured { hold, transaction: transaction(spend, moved, wanted.now), balance, available })
        }
    };
    told.map(Some).map_err(|error| sqlx::Error::Encode(error.into()).into())
}

/// The entry as it is written.
pub(super) fn transaction(spend: &Spend, moved: &Move, now: Timestamp) -> Transaction {
    let amount = moved.plan.plus(moved.extra).unwrap_or_default();
    Transaction {
        id: moved.after.last_seq,
        kind: TransactionKind::Deduction,
        amount,
        balance_after: moved.after.total(),
        operation: Some(spend.operation),
        quantity: Some(spend.quantity.get()),
        description: spend.description(),
        metadata: spend.metadata.value(),
        reference: spend.reference.clone(),
        created_at: now,
    }
}
