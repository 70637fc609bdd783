-- expect: nothing
alter table customers add column visits integer not null default 0;
