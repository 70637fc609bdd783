-- expect: ban-concurrent-index-creation-in-transaction@3
-- runs: no, because CREATE INDEX CONCURRENTLY cannot run inside a transaction block
create index concurrently customers_name on customers (name);
