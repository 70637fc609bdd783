-- expect: nothing
alter table customers validate constraint customers_name_present;
alter table orders validate constraint orders_total_positive;
