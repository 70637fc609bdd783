-- expect: require-concurrent-index-creation@2
create unique index customers_name on customers (name);
