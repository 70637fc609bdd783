-- expect: changing-column-type@2
alter table customers alter column balance type numeric(12, 3);
