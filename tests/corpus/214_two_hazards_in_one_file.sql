-- expect: adding-field-with-default@2, require-concurrent-index-creation@3
alter table customers add column token uuid default gen_random_uuid();
create unique index customers_token on customers (token);
