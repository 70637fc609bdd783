-- expect: nothing
set local maintenance_work_mem = '256MB';
alter table customers validate constraint customers_name_present;
