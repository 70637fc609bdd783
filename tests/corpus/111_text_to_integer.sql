-- expect: changing-column-type@2
alter table customers alter column address type integer using length(address);
