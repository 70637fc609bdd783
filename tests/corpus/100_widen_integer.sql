-- expect: changing-column-type@2
alter table customers alter column age type bigint;
