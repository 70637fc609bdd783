-- expect: nothing
alter table customers alter column status set statistics 500;
