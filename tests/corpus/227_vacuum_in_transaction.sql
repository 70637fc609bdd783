-- expect: ban-concurrent-index-creation-in-transaction@3
-- runs: no, because VACUUM cannot run inside a transaction block
vacuum customers;
