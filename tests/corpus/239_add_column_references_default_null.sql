-- DEFAULT NULL is a default: Postgres looks every row up, as it doesn't without.
-- expect: adding-foreign-key-constraint@3
alter table orders add column agent_id bigint default null references customers (id);
