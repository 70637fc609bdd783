-- expect: changing-column-type@3, prefer-text-field@3
-- the rows stay, the index is built anew
alter table customers alter column code type varchar(20) collate "C";
