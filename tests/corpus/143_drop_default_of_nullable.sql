-- expect: nothing
alter table customers alter column phone drop default;
