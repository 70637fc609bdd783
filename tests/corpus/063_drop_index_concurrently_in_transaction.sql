-- expect: ban-concurrent-index-creation-in-transaction@3
-- runs: no, because DROP INDEX CONCURRENTLY cannot run inside a transaction block
drop index concurrently customers_code;
