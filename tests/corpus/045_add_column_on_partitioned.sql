-- expect: adding-field-with-default@2
alter table events add column token uuid default gen_random_uuid();
