-- expect: changing-column-type@3, prefer-text-field@3
-- nothing is rewritten, but the constraint is checked again for every row
alter table customers alter column zip type varchar(6);
