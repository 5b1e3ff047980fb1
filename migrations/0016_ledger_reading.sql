-- Reading a long ledger by time without an index on time: an index would cost every debit, and the sequence is one already.

-- The number of the newest entry of an account that was made by an instant; 0 when none was. The sequence has no gap (I2) and
-- follows time, so that some twenty steps by its key find the place among a million entries.
--
-- Entries of requests that arrived together may stand a moment out of time's order. So the answer is near the place and not
-- exactly it: whoever asks adds a tolerance to the instant and compares created_at itself.
create function credit_seq_by(of_account bigint, instant timestamptz) returns bigint language plpgsql stable strict as $$
declare
    low    bigint := 0;
    high   bigint;
    middle bigint;
    made   timestamptz;
begin
    select last_seq + 1 into high from credit_balances where account_id = of_account;
    while high - low > 1 loop
        middle := (low + high) / 2;
        select created_at into made from credit_transactions where account_id = of_account and seq = middle;
        if made <= instant then low := middle; else high := middle; end if;
    end loop;
    return low;
end
$$;

-- What explains the extra pool: entries that staff made. No debit enters it, so that no debit pays for it.
create index credit_transactions_by_staff on credit_transactions (account_id, seq) where kind in ('purchase', 'adjustment', 'refund');
-- Where the extra pool's lots ended, and where periods were reset.
create index credit_transactions_expiries on credit_transactions (account_id, seq) where kind = 'expiry';
