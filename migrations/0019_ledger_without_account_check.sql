-- The ledger's reference to its account was checked row by row, which cost a quarter of a debit's time in the database.
-- A ledger row is only ever written together with its account's balance row, which references the account; `igny8 verify`
-- holds that every ledger row has one (I1).
alter table credit_transactions drop constraint credit_transactions_account_id_fkey;
