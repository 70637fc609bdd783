-- contraflow: no-transaction
-- expect: nothing
drop index concurrently customers_code;
