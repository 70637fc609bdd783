-- expect: nothing
alter table customers add column height integer;
alter table customers alter column height set default 0;
