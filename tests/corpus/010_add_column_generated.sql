-- expect: adding-stored-generated-field@2
alter table customers add column initial text generated always as (left(name, 1)) stored;
