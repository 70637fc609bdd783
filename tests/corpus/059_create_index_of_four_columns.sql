-- contraflow: no-transaction
-- expect: index-over-many-columns@3
create index concurrently orders_wide on orders (customer_id, state, placed_at, total);
