-- expect: ban-drop-object@3
drop trigger customers_touch on customers;
drop function touch();
