-- expect: ban-drop-not-null@2
alter table customers alter column email drop not null;
