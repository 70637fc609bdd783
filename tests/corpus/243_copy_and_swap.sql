-- expect: backfill-in-ddl@3
create table items_new (like items including all);
insert into items_new (id, quantity, price) select id, quantity, price from items;
alter table items rename to items_old;
alter table items_new rename to items;
