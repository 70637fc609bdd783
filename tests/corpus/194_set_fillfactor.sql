-- expect: nothing
alter table customers set (fillfactor = 80);
