-- expect: prefer-identity@2
create table invoices (
  id bigserial primary key
);
