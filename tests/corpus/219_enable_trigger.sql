-- expect: nothing
alter table customers enable trigger customers_touch;
