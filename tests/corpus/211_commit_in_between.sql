-- expect: script-refused@4
-- runs: no, because contraflow refuses it: COMMIT would end the transaction of its version
alter table customers add column street text;
commit;
alter table customers add column number text;
