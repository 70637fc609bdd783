-- contraflow: no-transaction
-- expect: require-concurrent-index-creation@4
-- runs: no, because cannot create index on partitioned table "events" concurrently
create index concurrently events_kind on events (kind);
