-- expect: adding-json-field@2
alter table customers add column extra json;
