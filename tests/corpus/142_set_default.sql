-- expect: changing-column-default@2
alter table customers alter column status set default 'fresh';
