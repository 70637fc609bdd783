-- expect: adding-exclusion-constraint@2
alter table events_2024 add constraint events_2024_once exclude using gist (tstzrange(at, at) with &&);
