-- A developer may give an account limits of its own, without a restart (contract, section 7: limits are the scope's times a factor).
alter table accounts
    -- Takes the place of the plan's factor; null: the plan's.
    add column throttle_factor integer,
    -- Until when it does; null: until it is changed.
    add column throttle_factor_until timestamptz,
    add constraint accounts_throttle_factor_range check (throttle_factor between 1 and 1000),
    add constraint accounts_throttle_factor_whole check (throttle_factor is not null or throttle_factor_until is null);
