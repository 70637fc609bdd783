-- expect: backfill-in-ddl@2
update customers set status = 'old' where status is null;
alter table customers add column street text;
