-- expect: require-concurrent-index-deletion@2
drop index customers_code;
