-- expect: lifts-lock-timeout@2
set local lock_timeout = 0;
alter table customers add column street text;
