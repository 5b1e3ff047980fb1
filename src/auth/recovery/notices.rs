//! Mails that tell somebody what happened to his sign-ins, written in the transaction of what happened.

use crate::{
    auth::{model::Claims, users},
    clock::Timestamp,
    db::StoreError,
    ids::UserId,
    mail::{
        letters,
        model::{Delivery, Letter, Mail, MailKind},
        service::enqueue_in,
    },
};
use sqlx::PgConnection;

/// A refresh token came a second time and its session was ended.
pub async fn session_reused_in(connection: &mut PgConnection, app_url: &str, token: &Claims, now: Timestamp) -> Result<(), StoreError> {
    let cause = format!("session_reused:{}", token.sid);
    tell_in(connection, token.user_id, MailKind::SessionReused, cause, letters::session_reused(app_url), now).await
}

/// The password is another one now.
pub async fn password_changed_in(connection: &mut PgConnection, app_url: &str, user: UserId, now: Timestamp) -> Result<(), StoreError> {
    let cause = format!("password_changed:{user}:{}", now.timestamp_micros());
    tell_in(connection, user, MailKind::PasswordChanged, cause, letters::password_changed(app_url), now).await
}

async fn tell_in(
    connection: &mut PgConnection,
    user: UserId,
    kind: MailKind,
    dedupe_key: String,
    letter: Letter,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(email) = users::store::find_email(connection, user).await? else { return Ok(()) };
    enqueue_in(connection, &Mail { kind, dedupe_key, recipient: &email, letter }, Delivery::Send, now).await
}
