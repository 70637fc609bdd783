-- expect: adding-field-with-default@2
alter table customers add column token uuid not null default gen_random_uuid();
