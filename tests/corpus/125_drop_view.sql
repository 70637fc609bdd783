-- expect: ban-drop-object@2
drop view customer_names;
