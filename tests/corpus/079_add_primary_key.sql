-- expect: disallowed-unique-constraint@2
alter table products add primary key (id);
