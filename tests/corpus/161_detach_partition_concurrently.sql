-- contraflow: no-transaction
-- expect: nothing
alter table events detach partition events_2025 concurrently;
