-- expect: backfill-in-ddl@3, slow-statement-under-lock@3
alter table customers add column street text;
update customers set street = address where street is null;
