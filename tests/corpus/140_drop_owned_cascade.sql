-- expect: ban-drop-column@2, drop-cascade@2
alter table customers drop column name cascade;
