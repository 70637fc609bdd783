-- expect: nothing
set local lock_timeout = '200ms';
alter table customers add column street text;
