-- expect: nothing
create table invoices (
  id bigint generated always as identity primary key,
  customer_id bigint not null
);
create index invoices_customer_id on invoices (customer_id);
alter table invoices add constraint invoices_customer_id_positive check (customer_id > 0);
alter table invoices alter column customer_id drop not null;
