-- A plan with fewer seats than an account has people freezes who came last; that is asked at each of their requests.

-- How many of an account's living people come before one of them, counted up to as many as the plan has seats: its owners, who
-- keep theirs, and who came earlier. A function of its own, so that a request of somebody who need not be counted opens nothing,
-- and one whose plans Postgres keeps for the session.
create function seniors_of(of_account bigint, of_user bigint, seats integer) returns bigint language plpgsql stable as $$
begin
    return (
        select count(*) from (
            select from users
            where account_id = of_account and deleted_at is null and user_id <> of_user and (role = 'owner' or user_id < of_user)
            limit seats
        ) seniors
    );
end
$$;
