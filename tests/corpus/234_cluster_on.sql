-- expect: nothing
alter table customers cluster on customers_created_at;
