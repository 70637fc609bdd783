-- expect: nothing
alter index customers_code rename to customers_by_code;
