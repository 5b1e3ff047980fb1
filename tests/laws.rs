//! The ten laws of money: a sound database is told to be sound, and each law fires alone when its breach is put in by
//! hand, past the constraints and triggers that would refuse it.

#[path = "support/database.rs"]
mod database;

use database::TestDatabase;
use igny8::system::{
    model::{Law, Violation},
    service,
};
use sqlx::raw_sql;

/// A system account; a tenant (29) with a trial, a paid period, a deduction, a site, its key and its access; another (30).
const SOUND: &str = "
insert into accounts (account_id, name, slug, status, plan_id, is_system, created_at, updated_at)
values (5, 'AWS Admin', 'aws-admin', 'active', (select plan_id from plans where slug = 'enterprise'), true, '2026-03-01Z', '2026-03-01Z'),
       (29, 'Home G8', 'home-g8', 'active', (select plan_id from plans where slug = 'starter'), false, '2026-03-01Z', '2026-03-01Z'),
       (30, 'TacBit', 'tacbit', 'trial', (select plan_id from plans where slug = 'free-trial'), false, '2026-03-01Z', '2026-03-01Z');
insert into users (user_id, account_id, email, username, role, password_hash, created_at, updated_at)
values (3, 5, 'dev@example.com', 'dev', 'developer', '!', '2026-03-01Z', '2026-03-01Z'),
       (7, 29, 'ana@example.com', 'ana', 'owner', '!', '2026-03-01Z', '2026-03-01Z'),
       (8, 29, 'ed@example.com', 'ed', 'editor', '!', '2026-03-01Z', '2026-03-01Z'),
       (9, 30, 'bo@example.com', 'bo', 'owner', '!', '2026-03-01Z', '2026-03-01Z');
insert into invoices (account_id, invoice_id, number, reference, status, purpose, plan_id, description, amount, currency, payment_method, due_at, paid_at, created_at)
values (29, 100, 'INV-29-202603-0001', 'RF-29', 'paid', 'upgrade', (select plan_id from plans where slug = 'starter'), 'Starter', 89, 'USD', 'bank_transfer', '2026-03-12Z', '2026-03-05Z', '2026-03-05Z');
insert into payments (account_id, payment_id, external_payment_id, payment_method, status, invoice_id, amount, currency, payer_name, result, confirmed_by, confirmed_at, created_at)
values (29, 200, 'BT-1', 'bank_transfer', 'confirmed', 100, 95, 'USD', 'Ana', '{}', 3, '2026-03-05Z', '2026-03-05Z');
insert into account_money_entries (account_id, seq, kind, amount, balance_after, payment_id, invoice_id, created_at)
values (29, 1, 'payment', 95, 95, 200, null, '2026-03-05Z'), (29, 2, 'settlement', -89, 6, null, 100, '2026-03-05Z');
insert into account_money (account_id, balance, last_seq) values (29, 6, 2);
insert into subscriptions (account_id, plan_id, status, current_period_start, current_period_end, created_at, updated_at)
values (29, (select plan_id from plans where slug = 'starter'), 'active', '2026-03-05Z', '2026-04-04Z', '2026-03-01Z', '2026-03-05Z'),
       (30, (select plan_id from plans where slug = 'free-trial'), 'trialing', '2026-03-01Z', '2026-03-15Z', '2026-03-01Z', '2026-03-01Z');
insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, payment_id, external_payment_id, created_at)
values (29, 1, (select plan_id from plans where slug = 'free-trial'), 'trial', 0, 2000, '2026-03-01Z', '2026-03-05Z', '2026-03-15Z', null, null, '2026-03-01Z'),
       (29, 2, (select plan_id from plans where slug = 'starter'), 'activation', 89, 1000, '2026-03-05Z', '2026-04-04Z', '2026-04-04Z', 200, 'BT-1', '2026-03-05Z'),
       (30, 1, (select plan_id from plans where slug = 'free-trial'), 'trial', 0, 2000, '2026-03-01Z', '2026-03-15Z', '2026-03-15Z', null, null, '2026-03-01Z');
insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, operation, quantity, unit_cost, description, period_seq, actor, idempotency_key, input_hash, created_at)
values (29, 1, 'subscription', 2000, 0, 2000, 0, null, null, null, 'Initial credits from Free Trial', 1, 'system', null, null, '2026-03-01Z'),
       (29, 2, 'adjustment', 0, 50, 2000, 50, null, null, null, 'A present', null, 'user:3', null, null, '2026-03-02Z'),
       (29, 3, 'expiry', -2000, 0, 0, 50, null, null, null, 'The trial is over', 1, 'user:3', null, null, '2026-03-05Z'),
       (29, 4, 'subscription', 1000, 0, 1000, 50, null, null, null, 'Starter', 2, 'user:3', null, null, '2026-03-05Z'),
       (29, 5, 'deduction', -10, 0, 990, 50, 'clustering', 1, 10, 'A run', null, 'user:7', 'key-1', '\\x01', '2026-03-06Z'),
       (30, 1, 'subscription', 2000, 0, 2000, 0, null, null, null, 'Initial credits from Free Trial', 1, 'system', null, null, '2026-03-01Z');
insert into credit_balances (account_id, plan_credits, extra_credits, last_seq) values (29, 990, 50, 5), (30, 2000, 0, 1);
insert into sites (account_id, site_id, name, slug, created_at, updated_at)
values (29, 19, 'tester site', 'tester-site', '2026-03-02Z', '2026-03-02Z'), (30, 20, 'other site', 'other-site', '2026-03-02Z', '2026-03-02Z');
insert into site_access (account_id, site_id, user_id, granted_at) values (29, 19, 8, '2026-03-02Z');
insert into site_keys (account_id, site_id, key_sha256, last_four, created_at) values (29, 19, sha256('key'), 'abcd', '2026-03-02Z');
insert into audit_log (account_id, actor, action, target, at)
values (29, 'anonymous', 'account.registered', 'account:29', '2026-03-01Z'), (29, 'user:3', 'transfer.confirmed', 'payment:200', '2026-03-05Z'),
       (30, 'cli', 'account.imported', 'account:30', '2026-03-01Z');
";

/// Lets the ledger, the log and the histories be rewritten.
const UNGUARDED: &str = "
alter table credit_transactions disable trigger user;
alter table audit_log disable trigger user;
alter table subscription_periods disable trigger user;
alter table payments disable trigger user;
alter table invoices disable trigger user;
alter table account_money_entries disable trigger user;
";

/// What is found in the sound database after these statements.
async fn violations_after(breach: &'static str) -> Vec<Violation> {
    let database = TestDatabase::new().await;
    for statements in [SOUND, UNGUARDED, breach] {
        raw_sql(statements).execute(database.pool()).await.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }
    let violations = service::verify(&database.pool().clone().into()).await.expect("the database answers");
    database.close().await;
    violations
}

/// Each of these breaches breaks that law, at that account, and no other.
async fn assert_only(law: Law, account: i64, breaches: &[&'static str]) {
    for breach in breaches {
        let violations = violations_after(breach).await;

        assert!(!violations.is_empty(), "{law} did not fire after {breach}");
        for violation in violations {
            assert_eq!((violation.law, violation.account.map(|account| account.0)), (law, Some(account)), "{violation:?} after {breach}");
        }
    }
}

#[tokio::test]
async fn a_sound_database_and_an_empty_one_break_no_law() {
    let empty = TestDatabase::new().await;

    let found_in_empty = service::verify(&empty.pool().clone().into()).await.expect("the database answers");
    let found_in_sound = violations_after("").await;

    assert_eq!(found_in_empty, []);
    assert_eq!(found_in_sound, []);
    empty.close().await;
}

#[tokio::test]
async fn i1_fires_when_a_balance_is_not_the_sum_of_its_ledger() {
    assert_only(
        Law::I1,
        29,
        &[
            "update credit_balances set plan_credits = plan_credits + 1 where account_id = 29",
            "update credit_balances set plan_credits = plan_credits + 50, extra_credits = 0 where account_id = 29", // right in sum, wrong by pool
            "update account_money set balance = 7 where account_id = 29",
            // A lot that the balance does not know of, one that it only believes in, and lots that are too few.
            "insert into credit_lots (account_id, lot_seq, remaining, expires_at) values (29, 0, 0, null), (29, 2, 50, '2026-12-01Z')",
            "update credit_balances set next_expiry_at = '2026-12-01Z' where account_id = 29",
            "insert into credit_lots (account_id, lot_seq, remaining, expires_at) values (29, 0, 9, null), (29, 2, 40, '2026-12-01Z');
             update credit_balances set next_expiry_at = '2026-12-01Z' where account_id = 29",
        ],
    )
    .await;
    assert_only(Law::I1, 5, &["insert into credit_balances (account_id, plan_credits, extra_credits, last_seq) values (5, 1, 0, 0)"]).await;
}

#[tokio::test]
async fn i2_fires_when_the_ledger_has_a_gap_or_a_step_that_does_not_add_up() {
    assert_only(
        Law::I2,
        29,
        &[
            "update credit_transactions set seq = 6 where account_id = 29 and seq = 5; update credit_balances set last_seq = 6 where account_id = 29",
            "update credit_transactions set plan_after = 991 where account_id = 29 and seq = 5",
            "update credit_transactions set extra_after = 49 where account_id = 29 and seq = 3",
            "update credit_balances set last_seq = 4 where account_id = 29",
            "update account_money_entries set seq = 3 where account_id = 29 and seq = 2; update account_money set last_seq = 3",
            "update account_money_entries set balance_after = 94 where account_id = 29 and seq = 1",
            "update account_money set last_seq = 1 where account_id = 29",
            "update credit_transactions set created_at = '2026-03-04T23:58:59.999999Z' where account_id = 29 and seq = 4",
        ],
    )
    .await;
}

#[tokio::test]
async fn i3_fires_when_a_balance_is_or_was_negative() {
    assert_only(
        Law::I3,
        29,
        &["alter table credit_balances drop constraint credit_balances_not_negative;
           alter table credit_transactions drop constraint credit_transactions_after_not_negative;
           insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, actor, created_at)
           values (29, 6, 'adjustment', -991, 0, -1, 50, 'Too much', 'user:3', '2026-03-07Z');
           update credit_balances set plan_credits = -1, last_seq = 6 where account_id = 29",
           "insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, actor, created_at)
            values (29, 6, 'refund', 6, 0, 996, 50, 'back', 'system', '2026-03-07Z'), (29, 7, 'refund', 6, 0, 1002, 50, 'back', 'system', '2026-03-07Z');
            insert into credit_refunds (account_id, refund_seq, deduction_seq, amount) values (29, 6, 5, 6), (29, 7, 5, 6);
            update credit_balances set plan_credits = 1002, last_seq = 7 where account_id = 29"],
    )
    .await;
}

#[tokio::test]
async fn i3_fires_when_what_is_held_is_not_there_or_is_not_the_open_holds_sum() {
    assert_only(
        Law::I3,
        29,
        &[
            // Nobody holds it.
            "update credit_balances set held = 1 where account_id = 29",
            // It is held and not counted.
            "insert into credit_holds (account_id, hold_seq, status, amount, operation, quantity, unit_cost, description, metadata, actor, created_at, expires_at)
             values (29, 1, 'open', 10, 'clustering', 1, 10, 'A run', '{}', 'user:7', '2026-03-06Z', '2026-03-07Z')",
            // It is more than there is.
            "insert into credit_holds (account_id, hold_seq, status, amount, operation, quantity, unit_cost, description, metadata, actor, created_at, expires_at)
             values (29, 1, 'open', 1041, 'idea_generation', 1041, 1, 'Ideas', '{}', 'user:7', '2026-03-06Z', '2026-03-07Z');
             update credit_balances set held = 1041 where account_id = 29",
        ],
    )
    .await;
}

#[tokio::test]
async fn i3_accepts_holds_up_to_the_last_credit_and_settled_ones_beside_them() {
    let violations = violations_after(
        "insert into credit_holds (account_id, hold_seq, status, amount, operation, quantity, unit_cost, description, metadata, actor, created_at, expires_at, settled_at)
         values (29, 1, 'open', 1040, 'idea_generation', 1040, 1, 'Ideas', '{}', 'user:7', '2026-03-06Z', '2026-03-07Z', null),
                (29, 2, 'released', 10, 'clustering', 1, 10, 'A run', '{}', 'user:7', '2026-03-06Z', '2026-03-07Z', '2026-03-06Z');
         update credit_balances set held = 1040, next_hold_expiry_at = '2026-03-07Z' where account_id = 29",
    )
    .await;

    assert_eq!(violations, []);
}

#[tokio::test]
async fn i4_fires_when_a_key_was_used_twice() {
    assert_only(
        Law::I4,
        29,
        &[
            "drop index credit_transactions_idempotency_key;
             insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, actor, idempotency_key, input_hash, created_at)
             values (29, 6, 'adjustment', -1, 0, 989, 50, 'Again', 'user:7', 'key-1', '\\x01', '2026-03-07Z');
             update credit_balances set plan_credits = 989, last_seq = 6 where account_id = 29",
            "alter table idempotency_keys drop constraint idempotency_keys_pkey;
             insert into idempotency_keys (account_id, idempotency_key, input_hash, status, answer, created_at)
             select 29, 'key-2', sha256('x'), 200, '{}', '2026-03-07Z' from generate_series(1, 2)",
        ],
    )
    .await;
}

#[tokio::test]
async fn i5_fires_when_a_period_was_granted_twice() {
    assert_only(
        Law::I5,
        30,
        &["drop index credit_transactions_grant_key;
           insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, period_seq, actor, created_at)
           values (30, 2, 'subscription', 2000, 0, 4000, 0, 'Again', 1, 'system', '2026-03-07Z');
           update credit_balances set plan_credits = 4000, last_seq = 2 where account_id = 30"],
    )
    .await;
}

#[tokio::test]
async fn i6_fires_when_periods_overlap_or_gap_without_a_recorded_lapse() {
    assert_only(
        Law::I6,
        29,
        &[
            "alter table subscription_periods drop constraint subscription_periods_no_overlap;
             update subscription_periods set starts_at = '2026-03-04Z' where account_id = 29 and period_seq = 2",
            "update subscription_periods set starts_at = '2026-03-05 00:00:00.000001Z' where account_id = 29 and period_seq = 2",
            "update subscription_periods set starts_at = '2026-03-06Z', lapsed_from = '2026-03-05 12:00Z' where account_id = 29 and period_seq = 2", // the wrong lapse
            "update subscription_periods set lapsed_from = '2026-03-04Z' where account_id = 29 and period_seq = 2", // a lapse that was none
            "alter table credit_transactions drop constraint credit_transactions_period_fkey;
             update subscription_periods set period_seq = 3 where account_id = 29 and period_seq = 2;
             update credit_transactions set period_seq = 3 where account_id = 29 and period_seq = 2",
        ],
    )
    .await;
}

#[tokio::test]
async fn i6_accepts_a_gap_with_its_lapse() {
    let violations = violations_after(
        "update subscription_periods set starts_at = '2026-03-06Z', lapsed_from = '2026-03-05Z' where account_id = 29 and period_seq = 2",
    )
    .await;

    assert_eq!(violations, []);
}

#[tokio::test]
async fn i7_fires_when_payment_period_and_grant_do_not_belong_together() {
    assert_only(
        Law::I7,
        29,
        &[
            // A payment that bought nothing, and a period that nobody paid.
            "update subscription_periods set payment_id = null, external_payment_id = null where account_id = 29 and period_seq = 2",
            // A payment that bought two.
            "drop index subscription_periods_payment_key;
             insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, payment_id, external_payment_id, created_at)
             select 29, 3, plan_id, 'renewal', 0, 0, '2026-04-04Z', '2026-05-04Z', '2026-05-04Z', 200, 'BT-1', '2026-03-05Z' from plans where slug = 'starter'",
            // A paid period whose credits never came.
            "update credit_transactions set kind = 'adjustment' where account_id = 29 and seq = 4",
            // A grant of another amount than was bought.
            "update subscription_periods set credits = 999 where account_id = 29 and period_seq = 2",
            // A grant out of nothing.
            "alter table credit_transactions drop constraint credit_transactions_grant_has_source;
             update credit_transactions set period_seq = null where account_id = 29 and seq = 1",
            // An invoice that is paid by nothing, and one that is not paid and took money all the same.
            "update subscription_periods set reversed_at = '2026-03-06Z' where account_id = 29 and period_seq = 2",
            "update invoices set status = 'open', paid_at = null where invoice_id = 100; update subscription_periods set reversed_at = '2026-03-06Z' where period_seq = 2",
            // A confirmed transfer whose money never came.
            "update payments set amount = 94 where payment_id = 200",
            // A period paid by what was never confirmed; its audit row goes too, for that would be another law's.
            "update payments set status = 'rejected', rejected_at = '2026-03-06Z', rejection_reason = 'No' where payment_id = 200; delete from audit_log where action = 'transfer.confirmed'",
        ],
    )
    .await;
}

#[tokio::test]
async fn i7_asks_no_grant_of_a_plan_without_credits() {
    let violations = violations_after(
        "insert into payments (account_id, payment_id, external_payment_id, payment_method, status, amount, currency, payer_name, result, confirmed_at, created_at)
         values (29, 201, 'BT-2', 'bank_transfer', 'confirmed', 1, 'USD', 'Ana', '{}', '2026-04-04Z', '2026-04-04Z');
         insert into subscription_periods (account_id, period_seq, plan_id, kind, price, credits, starts_at, ends_at, planned_ends_at, payment_id, external_payment_id, created_at)
         select 29, 3, plan_id, 'renewal', 1, 0, '2026-04-04Z', '2026-05-04Z', '2026-05-04Z', 201, 'BT-2', '2026-04-04Z' from plans where slug = 'starter';
         insert into audit_log (account_id, actor, action, target, at) values (29, 'user:3', 'transfer.confirmed', 'payment:201', '2026-04-04Z')",
    )
    .await;

    assert_eq!(violations, []);
}

#[tokio::test]
async fn i8_fires_when_an_account_lacks_what_every_account_has() {
    assert_only(
        Law::I8,
        30,
        &[
            "update users set role = 'admin' where user_id = 9",
            "update users set deleted_at = '2026-03-07Z', restore_until = '2026-03-21Z' where user_id = 9",
            "update accounts set plan_id = null where account_id = 30",
            "delete from subscriptions where account_id = 30",
            "delete from credit_transactions where account_id = 30; delete from credit_balances where account_id = 30",
            "delete from credit_transactions where account_id = 30; delete from credit_balances where account_id = 30;
             delete from subscription_periods where account_id = 30",
        ],
    )
    .await;
    assert_only(Law::I8, 5, &["update users set account_id = null where user_id = 3"]).await;
}

#[tokio::test]
async fn i9_fires_when_a_child_is_of_another_account_than_its_parent() {
    assert_only(
        Law::I9,
        29,
        &[
            "alter table site_access drop constraint site_access_site_fkey; update site_access set site_id = 20",
            "alter table site_access drop constraint site_access_user_fkey; update site_access set user_id = 9",
            "alter table site_keys drop constraint site_keys_site_fkey; update site_keys set site_id = 20",
            "alter table site_keys drop constraint site_keys_site_fkey; update site_keys set site_id = 999",
            "alter table payments drop constraint payments_invoice_fkey; alter table account_money_entries drop constraint account_money_entries_invoice_fkey; update invoices set account_id = 30",
        ],
    )
    .await;
}

#[tokio::test]
async fn i10_fires_when_a_privileged_change_has_no_record_or_two() {
    assert_only(
        Law::I10,
        29,
        &[
            "delete from audit_log where action = 'account.registered'",
            "insert into audit_log (account_id, actor, action, target, at) values (29, 'cli', 'account.imported', 'account:29', '2026-03-01Z')",
            "delete from audit_log where action = 'transfer.confirmed'",
            "insert into audit_log (account_id, actor, action, target, at) values (29, 'user:3', 'transfer.confirmed', 'payment:200', '2026-03-05Z')",
            "insert into audit_log (account_id, actor, action, target, at) values (29, 'user:3', 'transfer.confirmed', 'payment:999', '2026-03-05Z')",
            "insert into audit_log (account_id, actor, action, target, at) values (29, 'user:3', 'transfer.reversed', 'payment:200', '2026-03-05Z')",
            "insert into credit_transactions (account_id, seq, kind, plan_amount, extra_amount, plan_after, extra_after, description, actor, created_at)
             values (29, 6, 'refund', 5, 0, 995, 50, 'back', 'user:3', '2026-03-07Z');
             update credit_balances set plan_credits = 995, last_seq = 6 where account_id = 29",
            "insert into audit_log (account_id, actor, action, target, after, at)
             values (29, 'user:3', 'credits.adjusted', 'account:29', '{\"transaction\": 99}', '2026-03-07Z')",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_state_counts_what_is_there_and_names_what_is_broken() {
    let database = TestDatabase::new().await;
    raw_sql(SOUND).execute(database.pool()).await.expect("a sound database");
    raw_sql("update credit_balances set plan_credits = 0 where account_id = 30").execute(database.pool()).await.expect("a breach");

    let state = service::state(&database.pool().clone().into()).await.expect("the database answers");

    assert_eq!(state.plans.iter().map(|plan| (plan.slug.as_str(), plan.accounts)).filter(|(_, accounts)| *accounts > 0).count(), 3);
    assert_eq!(
        state.accounts.iter().map(|account| (account.slug.as_str(), account.credits)).collect::<Vec<_>>(),
        [("aws-admin", 0), ("home-g8", 1_040), ("tacbit", 0)]
    );
    assert_eq!((state.counts.users, state.counts.credit_transactions, state.counts.payments), (4, 6, 1));
    assert_eq!(state.violations.iter().map(|violation| violation.law).collect::<Vec<_>>(), [Law::I1]);
    database.close().await;
}
