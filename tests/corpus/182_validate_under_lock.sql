-- expect: slow-statement-under-lock@3
alter table customers add column street text;
alter table customers validate constraint customers_name_present;
