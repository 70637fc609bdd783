-- expect: adding-foreign-key-constraint@2
alter table products add column order_id bigint default 1 references orders (id);
