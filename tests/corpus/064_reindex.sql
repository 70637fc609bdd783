-- contraflow: no-transaction
-- expect: needless-no-transaction@3, require-concurrent-reindex@3
reindex table customers;
