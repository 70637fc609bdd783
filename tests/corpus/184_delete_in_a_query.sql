-- expect: backfill-in-ddl@2
with gone as (delete from items returning id) select count(*) from gone;
