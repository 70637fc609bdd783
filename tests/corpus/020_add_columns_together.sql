-- expect: adding-field-with-default@3
-- one statement, of which one part rewrites
alter table orders
  add column note text,
  add column token uuid default gen_random_uuid();
