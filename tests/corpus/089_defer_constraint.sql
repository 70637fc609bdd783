-- expect: nothing
alter table orders alter constraint orders_customer_id_fkey deferrable initially deferred;
