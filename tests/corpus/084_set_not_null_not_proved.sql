-- expect: adding-not-nullable-field@3
-- the constraint is not validated: it proves nothing
alter table customers alter column name set not null;
