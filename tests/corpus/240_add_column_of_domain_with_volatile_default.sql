-- expect: adding-field-with-default@3
create domain token as uuid default gen_random_uuid();
alter table customers add column token token;
