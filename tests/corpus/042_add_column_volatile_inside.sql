-- expect: adding-field-with-default@2
alter table customers add column token text default md5(random()::text);
