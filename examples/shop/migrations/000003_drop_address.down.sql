alter table customers add column address text;
update customers set address = street_number || ' ' || street;
alter table customers alter column address set not null;
