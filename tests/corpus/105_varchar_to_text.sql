-- expect: nothing
alter table customers alter column note type text;
