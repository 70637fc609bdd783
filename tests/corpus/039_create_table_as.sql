-- expect: nothing
create table rich_customers as select id, name from customers where balance > 1000000;
