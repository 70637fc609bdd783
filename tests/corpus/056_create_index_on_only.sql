-- expect: nothing
-- not valid until each partition has its own: nothing is read
create index events_kind on only events (kind);
