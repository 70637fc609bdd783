-- The schema that the files of this folder change: version 1, where each of them is version 2.
create schema archive;
create type mood as enum ('sad', 'ok', 'happy');
create domain postcode as text check (value ~ '^[0-9]{5}$');
create domain label as text;
create type point_of_sale as (city text, counter integer);

create table customers (
  id bigint generated always as identity primary key,
  email text not null,
  name text,
  address text,
  phone text default 'none',
  age integer,
  code varchar(20),
  zip varchar(5) constraint customers_zip_digits check (length(zip) = 5),
  note varchar(50),
  balance numeric(10, 2) not null default 0,
  status text default 'new',
  feeling mood,
  born timestamp,
  created_at timestamptz not null default now()
);
create index customers_created_at on customers (created_at);
create index customers_code on customers (code);
create unique index customers_email_unique on customers (email);
create unique index customers_phone_unique on customers (phone);
alter table customers add constraint customers_status_present check (status is not null);
alter table customers add constraint customers_name_present check (name is not null) not valid;

create table orders (
  id bigint primary key,
  customer_id bigint not null references customers (id),
  state text not null,
  total numeric not null,
  placed_at timestamptz
);
create index orders_customer_id on orders (customer_id);
alter table orders add constraint orders_total_positive check (total >= 0) not valid;

create table items (
  id integer primary key,
  order_id bigint,
  product_id bigint,
  quantity integer not null,
  price numeric not null,
  total numeric generated always as (quantity * price) stored
);

create table products (
  id bigint not null,
  title text not null,
  sku text
);
create unique index products_id on products (id);
create unique index products_sku on products (sku);

create table events (
  id bigint generated always as identity,
  at timestamptz not null,
  kind text,
  payload jsonb,
  primary key (id, at)
) partition by range (at);
create table events_2025 partition of events for values from ('2025-01-01') to ('2026-01-01');
create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
create table events_2024 (like events including all);
create table events_2023 (
  id bigint not null,
  at timestamptz not null,
  kind text,
  payload jsonb,
  primary key (id, at),
  constraint events_2023_at check (at >= '2023-01-01' and at < '2024-01-01')
);

create view customer_names as select id, name from customers;
create materialized view order_totals as select customer_id, sum(total) as total from orders group by customer_id;
create unique index order_totals_customer_id on order_totals (customer_id);

create function touch() returns trigger language plpgsql as $$
begin
  new.created_at = now();
  return new;
end $$;
create trigger customers_touch before insert on customers for each row execute function touch();
create sequence tickets;
create procedure tidy() language sql as $$ delete from products where title = '' $$;
