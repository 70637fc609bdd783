-- expect: constraint-missing-not-valid@2
alter table events add constraint events_kind_known check (kind in ('a', 'b'));
