-- expect: nothing
-- no row can be wrong yet
create table invoices (
  id bigint generated always as identity primary key,
  customer_id bigint not null references customers (id)
);
