-- expect: ban-drop-column@2
alter table customers drop column address;
