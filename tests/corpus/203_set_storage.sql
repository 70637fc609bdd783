-- expect: nothing
alter table customers alter column address set storage external;
