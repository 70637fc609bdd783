-- expect: nothing
alter table customers alter column age type integer;
