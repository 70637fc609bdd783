-- expect: backfill-in-ddl@2
update orders set state = 'x' from customers c where c.id = 5;
