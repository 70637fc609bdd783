-- expect: nothing
alter table customers alter column balance type numeric(12, 2);
