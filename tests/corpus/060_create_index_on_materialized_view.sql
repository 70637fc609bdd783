-- expect: require-concurrent-index-creation@2
create index order_totals_total on order_totals (total);
