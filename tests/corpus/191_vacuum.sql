-- contraflow: no-transaction
-- expect: nothing
vacuum (analyze) customers;
