-- contraflow: no-transaction
-- expect: ban-drop-database@4
-- runs: no, because it would drop a database
drop database shop_of_yesterday;
