-- expect: nothing
refresh materialized view concurrently order_totals;
