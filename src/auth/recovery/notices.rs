//! Mails that tell somebody what happened to his sign-ins, written in the transaction of what happened.

use crate::{
    auth::{model::Claims, users},
    clock::Timestamp,
    db::StoreError,
    ids::UserId,
    mail::{
        letters::{self, FactorChange},
        model::{Delivery, Letter, Mail, MailKind},
        service::Outbox,
    },
};
use sqlx::PgConnection;

/// A refresh token came a second time and its session was ended.
pub async fn session_reused_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    token: &Claims,
    now: Timestamp,
) -> Result<(), StoreError> {
    let cause = format!("session_reused:{}", token.sid);
    let mail = (MailKind::SessionReused, cause, letters::session_reused(outbox.app_url));
    tell_in(connection, outbox, token.user_id, mail, now).await
}

/// A second factor was switched on or off.
pub async fn second_factor_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    (user, change): (UserId, FactorChange),
    now: Timestamp,
) -> Result<(), StoreError> {
    let cause = format!("second_factor:{user}:{}", now.timestamp_micros());
    let mail = (MailKind::SecondFactor, cause, letters::second_factor(outbox.app_url, change));
    tell_in(connection, outbox, user, mail, now).await
}

/// The password is another one now.
pub async fn password_changed_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    user: UserId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let cause = format!("password_changed:{user}:{}", now.timestamp_micros());
    let mail = (MailKind::PasswordChanged, cause, letters::password_changed(outbox.app_url));
    tell_in(connection, outbox, user, mail, now).await
}

async fn tell_in(
    connection: &mut PgConnection,
    outbox: Outbox<'_>,
    user: UserId,
    (kind, dedupe_key, letter): (MailKind, String, Letter),
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(email) = users::store::find_email(connection, user).await? else { return Ok(()) };
    outbox.enqueue_in(connection, &Mail { kind, dedupe_key, recipient: &email, letter }, Delivery::Send, now).await
}
