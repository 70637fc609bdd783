-- expect: nothing
begin;
alter table customers add column street text;
commit;
