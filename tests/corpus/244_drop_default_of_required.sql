-- expect: changing-column-default@2, changing-column-default@3
alter table customers alter column created_at drop default;
alter table customers alter column id drop identity;
