//! Gives and takes the sight of a site.

use super::store;
use crate::{
    auth::members::{model::TeamMember, store as members},
    clock::Timestamp,
    db::{self, Pool, StoreError},
    ids::{AccountId, SiteId},
    sites::{
        model::{Author, Sight},
        rules,
        service::{SiteError, lock_thawed_in, record_in},
        store as sites,
    },
};
use serde_json::json;
use std::collections::BTreeSet;

/// Who sees a site because it was given to him.
pub async fn list(pool: &Pool, account: AccountId, site: SiteId) -> Result<Vec<TeamMember>, SiteError> {
    sites::find_site(pool, account, Sight::All, site).await?.ok_or(SiteError::NotFound)?;
    let granted = store::list_access(pool, account, site).await?;
    let mut people = members::list_members_of(pool, account, &granted).await?;
    people.retain(|member| rules::sight_of(member.role, member.id) != Sight::All);
    Ok(people)
}

/// Makes these, and nobody else, those who see a site. All of them must be living people of the account whose role does not
/// show them every site.
pub async fn replace(pool: &Pool, author: &Author<'_>, site: SiteId, users: &[i64], now: Timestamp) -> Result<Vec<TeamMember>, SiteError> {
    let users: &Vec<i64> = &users.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    db::retried(|| async move {
        let mut tx = db::begin(pool).await?;
        lock_thawed_in(&mut tx, author, site).await?;
        let people = members::list_members_of(&mut *tx, author.account, users).await?;
        let may_be_given = |member: &TeamMember| rules::sight_of(member.role, member.id) != Sight::All;
        if people.len() != users.len() || !people.iter().all(may_be_given) {
            return Err(SiteError::NobodyToSee);
        }
        let before = store::list_access(&mut *tx, author.account, site).await?;
        if before != *users {
            store::replace_access(&mut tx, author.account, site, users, now).await?;
            record_in(&mut tx, author, "site.access_changed", site, json!({"users": before}), json!({"users": users}), now).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(people)
    })
    .await
}
