-- expect: changing-column-default@2
alter table customers alter column balance drop default;
