-- expect: backfill-in-ddl@2
update customers set status = 'old';
