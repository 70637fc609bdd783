-- expect: disallowed-unique-constraint@2
alter table customers add constraint customers_name_unique unique (name);
