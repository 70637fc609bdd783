-- expect: ban-replace-view-function@2
create or replace view customer_names as select id, name, email from customers;
