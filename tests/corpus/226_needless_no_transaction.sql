-- contraflow: no-transaction
-- expect: script-refused@1
-- runs: no, because contraflow refuses it: a crash would leave half of it, where a transaction leaves nothing
alter table customers add column street text;
