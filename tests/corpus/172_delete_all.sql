-- expect: backfill-in-ddl@2
delete from items;
