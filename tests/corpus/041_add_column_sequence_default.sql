-- expect: adding-field-with-default@2
alter table customers add column ticket bigint default nextval('tickets');
