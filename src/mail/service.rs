//! Writes mails into the outbox, and carries them out of it.

use super::{
    model::{Claimed, Delivery, Due, Letter, Mail},
    post::Post,
    rules, store,
};
use crate::{
    clock::Timestamp,
    db::{Pool, StoreError},
    meters,
    sealing::{NotOpened, NotSealed, Vault},
};
use sqlx::PgConnection;

/// Mails claimed at once: so many as can be tried within the lease even of a server that answers nothing.
const BATCH: i64 = 10;
/// Rows that one purge takes away at the most.
const PURGED_MAX: i64 = 10_000;

/// Where mails are written.
#[derive(Clone, Copy, Debug)]
pub struct Outbox<'a> {
    /// What mails say is sealed until they leave, for some carry a token.
    pub vault: &'a Vault,
    /// The web app's base, where their links lead.
    pub app_url: &'a str,
}

impl Outbox<'_> {
    /// Writes a mail in the caller's transaction: it is sent exactly if that commits. A cause that was told before writes
    /// nothing.
    pub async fn enqueue_in(
        self,
        connection: &mut PgConnection,
        mail: &Mail<'_>,
        delivery: Delivery,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sealed = seal(self.vault, mail)?;
        store::insert_mail(connection, mail, &sealed, delivery, now).await
    }
}

fn seal(vault: &Vault, mail: &Mail<'_>) -> Result<Vec<u8>, NotSealed> {
    let bodies = serde_json::to_vec(&(&mail.letter.text, &mail.letter.html)).map_err(|_| NotSealed)?;
    vault.seal(&place(&mail.dedupe_key), &bodies)
}

fn open(vault: &Vault, claimed: Claimed) -> Result<Due, NotOpened> {
    let bodies = vault.open(&place(&claimed.dedupe_key), &claimed.sealed_bodies)?;
    let (text, html) = serde_json::from_slice(&bodies).map_err(|_| NotOpened)?;
    let letter = Letter { subject: claimed.subject, text, html };
    Ok(Due { id: claimed.id, kind: claimed.kind, recipient: claimed.recipient, letter, attempts: claimed.attempts })
}

fn place(dedupe_key: &str) -> String {
    format!("mail:{dedupe_key}")
}

/// What became of the mails that were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Taken by the server.
    pub sent: usize,
    /// Not taken; tried again later.
    pub postponed: usize,
    /// Not taken so often that they are given up.
    pub given_up: usize,
}

/// Sends all that is due at `now`, and counts it. Several workers share the work: each claims what no other has.
///
/// A mail is sent at least once: a worker that dies between the server's yes and ours sends it again after the lease, under
/// the same message id.
pub async fn deliver(pool: &Pool, post: &Post, vault: &Vault, now: Timestamp) -> Result<Delivered, StoreError> {
    let mut delivered = Delivered::default();
    let done = deliver_all(pool, post, vault, &mut delivered, now).await;
    meters::mailed(delivered.sent, delivered.postponed, delivered.given_up);
    done.map(|()| delivered)
}

async fn deliver_all(pool: &Pool, post: &Post, vault: &Vault, delivered: &mut Delivered, now: Timestamp) -> Result<(), StoreError> {
    loop {
        let batch = store::claim_due(pool, now + rules::LEASE, BATCH, now).await?;
        if batch.is_empty() {
            return Ok(());
        }
        for claimed in batch {
            let id = claimed.id;
            if claimed.delivery == Delivery::Withhold {
                store::mark_withheld(pool, id, now).await?;
                continue;
            }
            let due = match open(vault, claimed) {
                Ok(due) => due,
                // No later attempt would open it: the secret that sealed it is no longer configured.
                Err(error) => {
                    tracing::error!(mail = id, %error, "a mail is given up");
                    store::mark_given_up(pool, id, &error.to_string(), now).await?;
                    delivered.given_up += 1;
                    continue;
                }
            };
            let Err(error) = post.send(&due).await else {
                store::mark_sent(pool, due.id, now).await?;
                delivered.sent += 1;
                continue;
            };
            let error = rules::error_to_keep(&error.to_string(), &due.recipient);
            tracing::warn!(mail = due.id, kind = %due.kind, attempts = due.attempts, error, "a mail was not taken");
            match rules::pause_after(due.attempts) {
                Some(pause) => {
                    store::mark_postponed(pool, due.id, &error, now + pause).await?;
                    delivered.postponed += 1;
                }
                None => {
                    store::mark_given_up(pool, due.id, &error, now).await?;
                    delivered.given_up += 1;
                }
            }
        }
    }
}

/// Forgets mails that were over long ago. Gives how many.
pub async fn purge(pool: &Pool, now: Timestamp) -> Result<u64, StoreError> {
    store::delete_old(pool, now - rules::KEPT, PURGED_MAX).await
}
