-- expect: lock-table@2
lock table customers in access exclusive mode;
