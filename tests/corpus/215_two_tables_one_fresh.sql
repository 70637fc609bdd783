-- expect: nothing
create table invoices (id bigint generated always as identity primary key);
alter table orders add column street text;
