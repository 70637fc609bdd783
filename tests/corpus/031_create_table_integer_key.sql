-- expect: prefer-bigint-over-int@2
create table invoices (
  id integer generated always as identity primary key
);
