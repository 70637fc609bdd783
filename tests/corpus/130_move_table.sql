-- expect: renaming-table@2
alter table items set schema archive;
