-- expect: nothing
alter table customers add column nick label;
