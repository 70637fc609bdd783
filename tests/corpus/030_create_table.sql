-- expect: nothing
create table invoices (
  id bigint generated always as identity primary key,
  title text not null,
  paid_at timestamptz
);
