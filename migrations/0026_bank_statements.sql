-- Bank statements that staff read in. A staged line changes nothing; it is applied by an admin's choice, once.
create table bank_statements (
    statement_id bigint      not null generated always as identity primary key,
    -- 'csv', 'camt053', 'mt940'.
    format       text        not null,
    -- SHA-256 of the file: the same file again is the same statement.
    file_hash    bytea       not null,
    -- Lines of the file that another statement had staged before, as overlapping exports do.
    known_lines  integer     not null,
    -- Who read it in: 'user:7', 'cli'.
    actor        text        not null,
    created_at   timestamptz not null,
    constraint bank_statements_file_key unique (file_hash),
    constraint bank_statements_format_known check (format in ('csv', 'camt053', 'mt940')),
    constraint bank_statements_file_hash_length check (length(file_hash) = 32),
    constraint bank_statements_known_lines_range check (known_lines >= 0)
);

create table bank_statement_lines (
    statement_id        bigint      not null references bank_statements (statement_id),
    -- 1, 2, 3 … in the order of the file.
    line_no             integer     not null,
    -- SHA-256 over all that the bank says of it, and which of several like it in its file it is.
    line_hash           bytea       not null,
    booked_on           date        not null,
    -- Without sign …
    amount              numeric(12, 2) not null,
    -- … which stands here: 'in' or 'out'. Only what came in can be applied.
    direction           text        not null,
    currency            text        not null,
    -- Who paid, as the bank writes it; may be empty.
    payer_name          text        not null,
    -- What the payer wrote on the transfer.
    remittance          text        not null,
    -- The bank's own reference, or one made of the line's hash where the bank gives none: under it money counts once.
    external_payment_id text        not null,
    -- When it became a payment, and which.
    applied_at          timestamptz,
    account_id          bigint,
    payment_id          bigint,
    primary key (statement_id, line_no),
    constraint bank_statement_lines_hash_key unique (line_hash),
    constraint bank_statement_lines_payment_fkey foreign key (account_id, payment_id) references payments (account_id, payment_id),
    constraint bank_statement_lines_no_range check (line_no >= 1),
    constraint bank_statement_lines_hash_length check (length(line_hash) = 32),
    constraint bank_statement_lines_amount_not_negative check (amount >= 0),
    constraint bank_statement_lines_direction_known check (direction in ('in', 'out')),
    constraint bank_statement_lines_currency_form check (currency ~ '^[A-Z]{3}$'),
    constraint bank_statement_lines_text_length check (length(payer_name) <= 200 and length(remittance) <= 1000 and length(external_payment_id) between 1 and 128),
    constraint bank_statement_lines_applied_whole check ((applied_at is null) = (payment_id is null) and (payment_id is null) = (account_id is null)),
    constraint bank_statement_lines_only_in_applied check (applied_at is null or direction = 'in')
);
