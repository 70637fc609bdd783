-- expect: require-concurrent-index-creation@2
create index events_kind on events (kind);
