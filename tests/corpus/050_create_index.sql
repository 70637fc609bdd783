-- expect: require-concurrent-index-creation@2
create index customers_name on customers (name);
