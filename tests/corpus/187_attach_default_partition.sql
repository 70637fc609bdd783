-- expect: attaching-unproven-partition@2
alter table events attach partition events_2024 default;
