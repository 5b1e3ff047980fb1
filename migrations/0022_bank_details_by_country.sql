-- Where money goes, by the customer's country; payment_methods has what serves everybody else.
create table payment_method_countries (
    method       text        not null references payment_methods (method),
    -- ISO 3166-1 alpha-2; 'EU': every country whose money is the euro and which has no row of its own.
    country      text        not null,
    -- What the customer must know to pay: bank_name, account_title, account_number, iban, swift …
    details      jsonb       not null,
    instructions text        not null default '',
    updated_at   timestamptz not null,
    primary key (method, country),
    constraint payment_method_countries_country_form check (country ~ '^[A-Z]{2}$'),
    constraint payment_method_countries_details_is_object check (jsonb_typeof(details) = 'object')
);

-- Invented details: a developer sets the real ones before the first customer pays.
insert into payment_method_countries (method, country, details, instructions, updated_at)
values
    ('bank_transfer', 'US', '{"bank_name": "Example Bank US", "account_title": "IGNY8", "account_number": "0000000001", "routing_number": "000000000", "swift": "EXAMUS00"}',
     'Send a wire transfer in US dollars and write the reference in the memo.', '2026-01-01Z'),
    ('bank_transfer', 'GB', '{"bank_name": "Example Bank UK", "account_title": "IGNY8", "account_number": "00000002", "sort_code": "00-00-00", "iban": "GB00EXAM00000000000002", "swift": "EXAMGB00"}',
     'Send the exact amount and give the reference as the payment reference.', '2026-01-01Z'),
    ('bank_transfer', 'PK', '{"bank_name": "Example Bank Pakistan", "account_title": "IGNY8", "account_number": "0000000000000003", "iban": "PK00EXAM0000000000000003", "swift": "EXAMPK00"}',
     'Send the exact amount and write the reference in the remarks.', '2026-01-01Z'),
    ('bank_transfer', 'EU', '{"bank_name": "Example Bank EU", "account_title": "IGNY8", "iban": "XX00EXAM0000000000000004", "swift": "EXAMXX00"}',
     'Send the exact amount and write the reference in the remittance information.', '2026-01-01Z');
