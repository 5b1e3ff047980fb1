//! The drill: a backup, two acknowledged writes, a loss, and back to the moment between them.

#![allow(clippy::disallowed_methods, reason = "how the tests are run is no setting of the application")]
#![allow(dead_code, reason = "the support serves several kinds of test")]

#[path = "support/cluster.rs"]
mod cluster;
#[path = "support/program.rs"]
mod program;

use cluster::{Cluster, Folder, succeeded};
use program::{Program, Web};
use serde_json::json;
use std::{fs, path::PathBuf, thread, time::Duration};

/// Looks before a test gives up, and the pause between two: thirty seconds.
const LOOKS_MAX: u32 = 1_500;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A script of ours, where the server's account can read it.
fn script(folder: &Folder, name: &str) -> PathBuf {
    let copy = folder.path.join(name);
    fs::copy(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name), &copy).expect("the script");
    copy
}

async fn spend(web: &Web, token: &str, reference: &str) {
    let body = json!({"operation": "clustering", "quantity": 1, "reference": reference});
    let (status, body) = web.post("/api/v1/billing/credits/deduct/", token, reference, &body).await.expect("an answer");
    assert_eq!(status, 201, "{body}");
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..LOOKS_MAX {
        if is_so() {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    panic!("{what}: not in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_to_a_moment_between_two_acknowledged_writes_has_the_first_and_not_the_second() {
    let folder = Folder::new("restore");
    let archive = folder.inside("archive");
    let archiving = format!("archive_command=test ! -f {0}/%f && cp %p {0}/%f.new && mv {0}/%f.new {0}/%f", archive.display());
    let mut cluster = Cluster::new(&folder, "db", &["archive_mode=on", &archiving]);
    cluster.sql(&folder, "postgres", "create database igny8");
    let mut program = Program::on(folder.path.clone(), &cluster.url("igny8"));
    program.start();
    let web = program.client();
    program.ready(&web).await;
    let (token, _) = web.register("ana@example.com").await;
    spend(&web, &token, "before-the-backup").await;

    let backups = folder.inside("backups");
    let mut backup = folder.command("bash");
    backup.arg(script(&folder, "backup.sh")).arg(cluster.url("postgres")).arg(&backups);
    let backup = succeeded(backup.output().expect("it runs")).lines().last().expect("the backup's place").to_owned();
    spend(&web, &token, "first").await;
    let moment = cluster.sql(&folder, "postgres", "select clock_timestamp()");
    spend(&web, &token, "second").await;
    let wal = cluster.sql(&folder, "postgres", "select pg_walfile_name(pg_switch_wal())");
    wait_until("the WAL is archived", || archive.join(&wal).exists());
    program.kill();
    cluster.kill();
    fs::remove_dir_all(&cluster.data).expect("the loss");

    let data = folder.path.join("restored");
    let restore = |moment: &str| {
        let mut restore = folder.command("bash");
        restore.arg(script(&folder, "restore.sh")).args([&backup, archive.to_str().expect("a plain name"), moment]).arg(&data);
        restore.output().expect("it runs")
    };
    succeeded(restore(&moment));
    let overwritten = restore("latest");
    let restored = Cluster::of(&folder, data.clone(), &[]);
    wait_until("recovery ends", || restored.sql(&folder, "postgres", "select pg_is_in_recovery()") == "f");

    assert!(!overwritten.status.success(), "a data folder was written over");
    let there = restored.sql(&folder, "igny8", "select reference from credit_transactions where kind = 'deduction' order by seq");
    assert_eq!(there, "before-the-backup\nfirst", "restored to {moment}: {}", restored.told());
    // It serves: the second write is as if it had never been, and can be done now.
    let mut program = Program::on(folder.path.clone(), &restored.url("igny8"));
    program.verify();
    program.start();
    let web = program.client();
    program.ready(&web).await;
    spend(&web, &token, "second").await;
    program.verify();
}
