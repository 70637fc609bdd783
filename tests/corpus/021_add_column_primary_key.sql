-- expect: disallowed-unique-constraint@2, adding-required-field@2
alter table products add column key bigint primary key;
