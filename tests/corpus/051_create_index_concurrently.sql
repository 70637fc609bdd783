-- contraflow: no-transaction
-- expect: nothing
create index concurrently customers_name on customers (name);
