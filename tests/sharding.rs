//! Can the tables be split by account? The real catalogue against docs/scaling.md: every key of a tenant table contains the
//! account, or stands in the document with its reason.

#![allow(dead_code, reason = "this binary needs a database, and not all that one can do")]

#[path = "support/database.rs"]
mod database;

use database::TestDatabase;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A key that must hold, as the catalogue has it.
#[derive(Debug)]
struct Key {
    table: String,
    name: String,
    /// Where a foreign key points.
    target: Option<String>,
    has_account: bool,
}

/// Primary and unique keys with the unique indexes that are no constraint, exclusions, and foreign keys.
async fn keys(database: &TestDatabase) -> Vec<Key> {
    let query = "
        with account as (
            select attrelid, attnum from pg_attribute where attname = 'account_id' and not attisdropped
        ), key as (
            select c.relname::text as of, i.relname::text as name, null::text as target,
                   exists (select from account where attrelid = x.indrelid and attnum = any (x.indkey))
                   or pg_get_indexdef(x.indexrelid) like '%account_id%' as has_account
            from pg_index x join pg_class c on c.oid = x.indrelid join pg_class i on i.oid = x.indexrelid
            where x.indisunique or x.indisexclusion
            union all
            select c.relname::text, k.conname::text, f.relname::text,
                   exists (select from account where attrelid = k.conrelid and attnum = any (k.conkey))
            from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_class f on f.oid = k.confrelid
            where k.contype = 'f'
        )
        select of, name, target, has_account from key join pg_class c on c.relname = key.of
        where c.relnamespace = 'public'::regnamespace and of <> '_sqlx_migrations' order by 1, 2";
    let rows = sqlx::query_as::<_, (String, String, Option<String>, bool)>(query).fetch_all(database.pool()).await.expect("the catalogue");
    rows.into_iter().map(|(table, name, target, has_account)| Key { table, name, target, has_account }).collect()
}

/// The rows of a section's table in the document: the first cell's name, and all cells.
fn listed(section: &str) -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scaling.md")).expect("docs/scaling.md");
    let section = text.split("\n## ").find(|part| part.starts_with(section)).unwrap_or_else(|| panic!("no section {section}"));
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    rows.map(cells).map(|cells| (cells[0].clone(), cells)).collect()
}

fn names(listed: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    listed.keys().cloned().collect()
}

#[tokio::test]
async fn every_table_has_the_account_in_its_primary_key_or_is_listed_as_global_with_the_reason() {
    let database = TestDatabase::new().await;

    let keys = keys(&database).await;
    let global = listed("Global tables");

    let primary = keys.iter().filter(|key| key.name == format!("{}_pkey", key.table));
    let without = primary.filter(|key| !key.has_account).map(|key| key.table.clone()).collect::<BTreeSet<_>>();
    assert_eq!(without, names(&global));
    assert!(global.values().all(|cells| cells.len() == 2 && cells[1].len() > 10), "{global:?}");
}

#[tokio::test]
async fn every_unique_key_of_a_tenant_table_contains_the_account_or_is_listed_with_the_reason() {
    let database = TestDatabase::new().await;

    let keys = keys(&database).await;
    let (global, exempt) = (names(&listed("Global tables")), listed("Keys of tenant tables"));

    let unique = keys.iter().filter(|key| key.target.is_none() && !key.has_account && !global.contains(&key.table));
    let without = unique.map(|key| (key.name.clone(), key.table.clone())).collect::<BTreeMap<_, _>>();
    let shown = exempt.iter().map(|(name, cells)| (name.clone(), cells[1].clone())).collect::<BTreeMap<_, _>>();
    assert_eq!(without, shown);
    assert!(exempt.values().all(|cells| cells.len() == 3 && cells[2].len() > 10), "{exempt:?}");
}

#[tokio::test]
async fn every_foreign_key_between_tenant_tables_contains_the_account() {
    let database = TestDatabase::new().await;

    let keys = keys(&database).await;
    let global = names(&listed("Global tables"));

    let foreign = keys.iter().filter_map(|key| Some((key, key.target.as_ref()?)));
    let between = foreign.filter(|(key, target)| !global.contains(&key.table) && !global.contains(*target)).collect::<Vec<_>>();
    let without = between.iter().filter(|(key, _)| !key.has_account).collect::<Vec<_>>();
    assert!(without.is_empty(), "{without:?}");
    assert!(between.len() > 20, "the catalogue was not read: {between:?}");
}
