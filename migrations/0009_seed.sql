-- Reference data of requirements, section 1. Run again by `igny8 seed-plans`: what exists is left as it is.
-- The fixed time says that the figures are of the migration, not of somebody's edit.
insert into plans (slug, name, price, billing_cycle, credits_per_month, max_sites, max_users, max_sectors, features, assignment, throttle_factor, created_at, updated_at)
values
    ('free-trial', 'Free Trial', 0, 'monthly', 2000, 1, 1, 3, '{}', 'signup', 1, '2026-01-01Z', '2026-01-01Z'),
    ('free', 'Free Plan', 0, 'monthly', 100, 1, 1, 5, '{}', 'signup', 1, '2026-01-01Z', '2026-01-01Z'),
    ('starter', 'Starter', 89, 'monthly', 1000, 1, 2, 5, '{ai_writer,image_gen}', 'payment', 2, '2026-01-01Z', '2026-01-01Z'),
    ('growth', 'Growth', 139, 'monthly', 2000, 3, 3, 5, '{ai_writer,image_gen,auto_publish}', 'payment', 3, '2026-01-01Z', '2026-01-01Z'),
    ('scale', 'Scale', 229, 'monthly', 4000, 5, 5, 5, '{ai_writer,image_gen,auto_publish,custom_prompts}', 'payment', 5, '2026-01-01Z', '2026-01-01Z'),
    ('enterprise', 'Enterprise Plan', 0, 'monthly', 10000, 20, 10000, 5, '{ai_writer,image_gen,auto_publish,custom_prompts,unlimited}', 'manual', 20, '2026-01-01Z', '2026-01-01Z')
on conflict (slug) do nothing;

insert into credit_costs (operation, cost, updated_at)
values
    ('clustering', 10, '2026-01-01Z'),
    ('idea_generation', 2, '2026-01-01Z'),
    ('content_generation', 1, '2026-01-01Z'),
    ('image_generation', 5, '2026-01-01Z'),
    ('image_prompt_extraction', 2, '2026-01-01Z')
on conflict (operation) do nothing;

-- Invented details: a developer sets the real ones before the first customer pays.
insert into payment_methods (method, name, details, instructions, is_active, updated_at)
values
    ('bank_transfer', 'Bank Transfer', '{"bank_name": "Example Bank", "account_title": "IGNY8", "account_number": "0000000000", "iban": "XX00EXAM0000000000000000", "swift": "EXAMXX00"}',
     'Transfer the exact amount and write the reference in the payment details.', true, '2026-01-01Z')
on conflict (method) do nothing;
