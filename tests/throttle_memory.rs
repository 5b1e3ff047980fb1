//! What the limiter keeps in memory. A program of its own, because it looks at the whole process.

#[path = "api/support/clock.rs"]
mod clock;

use clock::ManualClock;
use igny8::throttle::{
    model::{Key, Scope},
    service::Throttle,
};
use std::{fs, sync::Arc};

const KEYS: i64 = 1_000_000;
const MEBIBYTE: u64 = 1024 * 1024;

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("how much is in memory");
    line.split_whitespace().nth(1).and_then(|kibibytes| kibibytes.parse::<u64>().ok()).expect("a number") * 1024
}

#[tokio::test]
async fn f_a_million_buckets_stay_under_64_mebibytes_and_are_forgotten_when_they_are_full_again() {
    let clock = Arc::new(ManualClock::at("2026-03-01T00:00:00Z"));
    let throttle = Throttle::new(clock.clone(), None, false);
    throttle.check(Scope::Default, 1, Key::Account(0)).await;
    let before = resident();

    for account in 1..=KEYS {
        throttle.check(Scope::Default, 1, Key::Account(account)).await;
    }

    let grown = resident().saturating_sub(before);
    assert!(grown > 8 * MEBIBYTE && grown < 64 * MEBIBYTE, "{} MiB", grown / MEBIBYTE);
    clock.advance(std::time::Duration::from_secs(120));
    throttle.sweep();
    assert!(resident() < before + 16 * MEBIBYTE, "{} MiB are kept", (resident() - before) / MEBIBYTE);
}
