-- expect: nothing
alter table customers validate constraint customers_name_present;
