-- expect: backfill-in-ddl@2
insert into products (id, title) select id, email from customers;
