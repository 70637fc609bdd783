-- expect: attaching-unproven-partition@3, changing-column-default@2
alter table events_2024 alter column id drop identity; -- from version 17 on no partition has one of its own
alter table events attach partition events_2024 for values from ('2024-01-01') to ('2025-01-01');
