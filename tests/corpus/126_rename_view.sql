-- expect: renaming-object@2
alter view customer_names rename to client_names;
