-- expect: nothing
alter table events add constraint events_kind_known check (kind in ('a', 'b')) not valid;
