-- expect: ban-disable-trigger@2
alter table customers disable trigger customers_touch;
