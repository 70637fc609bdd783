-- expect: backfill-in-ddl@2
select * from orders for update;
