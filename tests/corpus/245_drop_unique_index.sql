-- contraflow: no-transaction
-- expect: ban-drop-constraint@3
drop index concurrently customers_phone_unique;
