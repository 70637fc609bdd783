-- expect: prefer-text-field@2
alter table customers alter column note type varchar(100);
