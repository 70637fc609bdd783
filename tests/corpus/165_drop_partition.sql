-- expect: ban-drop-table@2
drop table events_2025;
