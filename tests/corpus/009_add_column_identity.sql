-- expect: adding-serial-primary-key-field@2
alter table products add column number bigint generated always as identity;
