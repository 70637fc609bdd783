-- expect: changing-column-type@2
alter table customers alter column status type text using status;
