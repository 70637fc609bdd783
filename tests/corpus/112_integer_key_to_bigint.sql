-- expect: changing-column-type@2
alter table items alter column id type bigint;
