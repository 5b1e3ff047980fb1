//! SQL of the keys.

use super::model::{FirstAnswer, Keyed};
use crate::{clock::Timestamp, db::StoreError, ids::AccountId};
use sqlx::PgConnection;
use std::collections::HashMap;

/// A stored key: the hash it came with and the answer it got.
pub struct Stored {
    /// SHA-256 of the first input.
    pub input_hash: Vec<u8>,
    /// What was answered.
    pub first: FirstAnswer,
}

/// Serialises all requests with one key until the transaction ends, whether or not a row exists yet.
pub async fn lock_key(connection: &mut PgConnection, account: AccountId, key: &str) -> Result<(), StoreError> {
    let hash = crate::secrets::hash_parts(&[b"idempotency", &account.0.to_be_bytes(), key.as_bytes()]);
    let lock = hash.first_chunk::<8>().map_or(0, |bytes| i64::from_be_bytes(*bytes));
    sqlx::query!("select pg_advisory_xact_lock($1)", lock).execute(connection).await?;
    Ok(())
}

/// The first answer to a key.
pub async fn find_key(connection: &mut PgConnection, account: AccountId, key: &str) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query!(
        "select input_hash, status, answer from idempotency_keys where account_id = $1 and idempotency_key = $2",
        account.0,
        key
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Stored { input_hash: row.input_hash, first: FirstAnswer { status: row.status, answer: row.answer } }))
}

/// Keeps the first answer; false where the key has one by now.
pub async fn insert_key(
    connection: &mut PgConnection,
    account: AccountId,
    keyed: &Keyed,
    first: &FirstAnswer,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query!(
        r#"
        insert into idempotency_keys (account_id, idempotency_key, input_hash, status, answer, created_at) values ($1, $2, $3, $4, $5, $6)
        on conflict (account_id, idempotency_key) do nothing
        "#,
        account.0,
        keyed.key,
        keyed.input_hash.as_slice(),
        first.status,
        first.answer,
        now,
    )
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// What is stored of these keys, each with its account.
pub async fn list_known(
    connection: &mut PgConnection,
    accounts: &[i64],
    keys: &[String],
) -> Result<HashMap<(AccountId, String), Stored>, StoreError> {
    let rows = sqlx::query!(
        r#"
        select k.account_id as "account: AccountId", k.idempotency_key, k.input_hash, k.status, k.answer
        from unnest($1::bigint[], $2::text[]) as wanted (account_id, key)
        join idempotency_keys k on k.account_id = wanted.account_id and k.idempotency_key = wanted.key
        "#,
        accounts,
        keys
    )
    .fetch_all(connection)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let first = FirstAnswer { status: row.status, answer: row.answer };
        ((row.account, row.idempotency_key), Stored { input_hash: row.input_hash, first })
    });
    Ok(stored.collect())
}

/// Keeps several first answers, each with its account.
pub async fn insert_keys(connection: &mut PgConnection, answers: &[(AccountId, &Keyed, FirstAnswer, Timestamp)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        insert into idempotency_keys (account_id, idempotency_key, input_hash, status, answer, created_at)
        select * from unnest($1::bigint[], $2::text[], $3::bytea[], $4::smallint[], $5::jsonb[], $6::timestamptz[])
        "#,
        &answers.iter().map(|(account, ..)| account.0).collect::<Vec<_>>(),
        &answers.iter().map(|(_, keyed, ..)| keyed.key.clone()).collect::<Vec<_>>(),
        &answers.iter().map(|(_, keyed, ..)| keyed.input_hash.to_vec()).collect::<Vec<_>>(),
        &answers.iter().map(|(_, _, first, _)| first.status).collect::<Vec<_>>(),
        &answers.iter().map(|(_, _, first, _)| first.answer.clone()).collect::<Vec<_>>(),
        &answers.iter().map(|(.., now)| *now).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}
