-- contraflow: no-transaction
-- expect: prefer-repack@3
vacuum full customers;
