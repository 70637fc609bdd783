-- expect: nothing
select count(*) from customers;
