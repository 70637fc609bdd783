-- expect: prefer-text-field@2
create table invoices (
  id bigint generated always as identity primary key,
  title varchar(100) not null
);
