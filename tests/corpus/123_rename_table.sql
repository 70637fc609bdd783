-- expect: renaming-table@2
alter table customers rename to clients;
