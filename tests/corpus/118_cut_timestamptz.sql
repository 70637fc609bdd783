-- expect: changing-column-type@2
alter table customers alter column created_at type timestamptz(3);
