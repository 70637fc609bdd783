-- expect: changing-column-type@2, prefer-text-field@2
alter table customers alter column address type varchar(200);
