-- expect: require-concurrent-reindex@2
reindex index customers_code;
