-- expect: nothing
-- now() is taken once, and stored in the catalog: nothing is rewritten
alter table customers add column seen_at timestamptz not null default now();
