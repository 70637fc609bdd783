-- expect: adding-foreign-key-constraint@2
alter table items add constraint items_order_id foreign key (order_id) references orders (id);
