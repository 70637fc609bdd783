-- expect: changing-column-type@2
alter table customers alter column born type timestamptz using born at time zone 'UTC';
