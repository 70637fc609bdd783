-- contraflow: no-transaction
-- expect: nothing
reindex index concurrently customers_code;
