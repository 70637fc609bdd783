-- It does nothing here; without the base's files, nobody could tell.
-- expect: constraint-missing-not-valid@4, require-concurrent-index-creation@5
create table if not exists items (id bigint primary key, quantity integer);
alter table items add constraint items_quantity check (quantity > 0);
create index items_quantity_idx on items (quantity);
