-- expect: nothing
alter table orders rename constraint orders_total_positive to orders_total_not_negative;
