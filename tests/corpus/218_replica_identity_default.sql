-- expect: nothing
alter table items replica identity default;
