-- expect: ban-char-field@2
create table invoices (
  id bigint generated always as identity primary key,
  currency char(3) not null
);
