-- expect: nothing
analyze customers;
