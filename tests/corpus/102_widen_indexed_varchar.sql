-- expect: prefer-text-field@3
-- the index is kept
alter table customers alter column code type varchar(40);
