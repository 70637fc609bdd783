-- expect: ban-drop-constraint@2
alter table customers drop constraint customers_zip_digits;
