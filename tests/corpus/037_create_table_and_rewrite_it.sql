-- expect: nothing
create table invoices (id bigint generated always as identity primary key, title text);
alter table invoices add column token uuid not null default gen_random_uuid();
alter table invoices alter column title set not null;
alter table invoices rename column title to subject;
alter table invoices drop column subject;
