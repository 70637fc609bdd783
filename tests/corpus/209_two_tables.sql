-- expect: several-tables-in-one-file@3
alter table customers add column street text;
alter table orders add column street text;
