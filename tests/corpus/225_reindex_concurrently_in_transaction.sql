-- expect: ban-concurrent-index-creation-in-transaction@3
-- runs: no, because REINDEX CONCURRENTLY cannot run inside a transaction block
reindex index concurrently customers_code;
