-- expect: renaming-column@2
alter view customer_names rename column name to title;
