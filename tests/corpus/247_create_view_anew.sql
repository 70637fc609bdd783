-- expect: ban-drop-object@2
drop view customer_names;
create view customer_names as select id from customers;
