-- expect: nothing
alter table customers add column extra jsonb;
