-- expect: adding-foreign-key-constraint@3
-- of an empty column nothing has to be checked, but both tables are locked for a moment
alter table products add column customer_id bigint references customers (id);
