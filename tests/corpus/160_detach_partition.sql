-- expect: require-concurrent-partition-detach@2
alter table events detach partition events_2025;
