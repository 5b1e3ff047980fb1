//! SQL of who sees a site.

use crate::{
    clock::Timestamp,
    db::StoreError,
    ids::{AccountId, SiteId},
};
use sqlx::{PgConnection, PgExecutor};

/// The numbers of those who were given access.
pub async fn list_access(executor: impl PgExecutor<'_>, account: AccountId, site: SiteId) -> Result<Vec<i64>, StoreError> {
    let users =
        sqlx::query_scalar!("select user_id from site_access where account_id = $1 and site_id = $2 order by user_id", account.0, site.0);
    Ok(users.fetch_all(executor).await?)
}

/// Makes these, and nobody else, those who have access.
pub async fn replace_access(
    connection: &mut PgConnection,
    account: AccountId,
    site: SiteId,
    users: &[i64],
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        with gone as (
            delete from site_access where account_id = $1 and site_id = $2 and not user_id = any($3)
        )
        insert into site_access (account_id, site_id, user_id, granted_at)
        select $1, $2, user_id, $4 from unnest($3::bigint[]) as user_id
        on conflict do nothing
        "#,
        account.0,
        site.0,
        users,
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}
