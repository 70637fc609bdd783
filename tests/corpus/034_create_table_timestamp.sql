-- expect: prefer-timestamptz@2
create table invoices (
  id bigint generated always as identity primary key,
  paid_at timestamp not null
);
