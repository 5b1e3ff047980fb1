//! Lists from a real streaming replica, which lags: they may be a little old; balances and permissions never are.

#![allow(clippy::disallowed_methods, reason = "how the tests are run is no setting of the application")]
#![allow(dead_code, reason = "the support serves several kinds of test")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/program.rs"]
mod program;

use cluster::{Cluster, Folder};
use program::{Program, Web};
use serde_json::{Value, json};
use std::time::Duration;

const LEDGER: &str = "/api/v1/billing/credits/transactions/";
const DEDUCT: &str = "/api/v1/billing/credits/deduct/";
/// Looks before a test gives up, and the pause between two: thirty seconds.
const LOOKS_MAX: u32 = 600;
const LOOK_EVERY: Duration = Duration::from_millis(50);

async fn got(web: &Web, path: &str, token: &str) -> Value {
    let (status, body) = web.get(path, token).await.expect("an answer");
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn entries(web: &Web, token: &str) -> usize {
    got(web, LEDGER, token).await["results"].as_array().expect("a list").len()
}

async fn spend(web: &Web, token: &str) {
    let body = json!({"operation": "clustering", "quantity": 1});
    let (status, body) = web.post(DEDUCT, token, "", &body).await.expect("an answer");
    assert_eq!(status, 201, "{body}");
}

/// Asks until the ledger has so many entries: a replica is behind, and one that was away is left alone for some seconds.
async fn entries_become(web: &Web, token: &str, count: usize) {
    for _ in 0..LOOKS_MAX {
        if entries(web, token).await == count {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    panic!("the ledger never had {count} entries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_from_a_lagging_replica_balances_and_permissions_never_and_the_primary_serves_while_it_is_away() {
    let folder = Folder::new("replica");
    let primary = Cluster::new(&folder, "primary", &["max_connections=60"]);
    primary.sql(&folder, "postgres", "create database igny8");
    let copy = folder.path.join("replica");
    folder.run("pg_basebackup", &["-d", &primary.url("postgres"), "-D", copy.to_str().expect("a plain name"), "-R", "-c", "fast"]);
    let mut replica = Cluster::of(&folder, copy, &["max_connections=60"]);
    assert_eq!(replica.sql(&folder, "postgres", "select pg_is_in_recovery()"), "t");
    let program = Program::on(folder.path.clone(), &primary.url("igny8"));
    let mut program = program.with("DATABASE_REPLICA_URL", &replica.url("igny8")).with("LOG_LEVEL", "info");
    program.start();
    let web = program.client();
    program.ready(&web).await;
    let (ana, _) = web.register("ana@example.com").await;
    entries_become(&web, &ana, 1).await;

    // The replica stands still from here on.
    replica.sql(&folder, "postgres", "select pg_wal_replay_pause()");
    spend(&web, &ana).await;
    let (bert, _) = web.register("bert@example.com").await;
    let lagging = entries(&web, &ana).await;
    let usage = got(&web, "/api/v1/billing/credits/usage/", &ana).await;
    let balance = got(&web, "/api/v1/billing/credits/balance/", &ana).await;
    // Bert's session is not on the replica: who he is and what he may is asked of the primary.
    let berts = entries(&web, &bert).await;
    got(&web, "/api/v1/billing/credits/balance/", &bert).await;
    assert_eq!((lagging, berts), (1, 0), "the ledger is read from the replica");
    assert_eq!(usage["data"]["rows"].as_array().map_or(0, Vec::len), 0, "{usage}");
    assert_eq!(balance["data"]["credits"], 1_990, "{balance}");

    // It dies: the primary serves, and that is told once.
    replica.kill();
    assert_eq!((entries(&web, &ana).await, entries(&web, &ana).await), (2, 2));
    assert_eq!(program.logged().matches("the replica does not answer").count(), 1, "{}", program.logged());

    // It comes back, behind again: by itself it serves again.
    replica.start(&folder);
    replica.sql(&folder, "postgres", "select pg_wal_replay_resume()");
    entries_become(&web, &bert, 1).await;
    replica.sql(&folder, "postgres", "select pg_wal_replay_pause()");
    spend(&web, &ana).await;
    entries_become(&web, &ana, 2).await;
    assert_eq!(program.logged().matches("the replica answers again").count(), 1, "{}", program.logged());
    program.verify();
}
