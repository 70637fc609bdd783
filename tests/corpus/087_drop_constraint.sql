-- expect: nothing
alter table orders drop constraint orders_total_positive;
