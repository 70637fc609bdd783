-- expect: prefer-repack@2
cluster customers using customers_created_at;
