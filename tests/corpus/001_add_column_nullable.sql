-- expect: nothing
alter table customers add column street text;
