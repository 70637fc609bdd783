-- contraflow: no-transaction
-- expect: nothing
create index concurrently events_2025_kind on events_2025 (kind);
