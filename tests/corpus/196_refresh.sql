-- expect: refreshing-materialized-view@2
refresh materialized view order_totals;
