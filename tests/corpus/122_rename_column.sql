-- expect: renaming-column@2
alter table customers rename column address to location;
