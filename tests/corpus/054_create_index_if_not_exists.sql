-- expect: require-concurrent-index-creation@2
create index if not exists customers_name on customers (name);
