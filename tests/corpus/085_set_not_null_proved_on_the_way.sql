-- expect: nothing
alter table customers validate constraint customers_name_present;
alter table customers alter column name set not null;
alter table customers drop constraint customers_name_present;
