-- expect: nothing
alter table customers add column if not exists street text;
