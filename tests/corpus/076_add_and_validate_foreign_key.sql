-- expect: validating-in-the-same-file@3
alter table items add constraint items_order_id foreign key (order_id) references orders (id) not valid;
alter table items validate constraint items_order_id;
