-- expect: nothing
-- its constraint proves where its rows belong
alter table events attach partition events_2023 for values from ('2023-01-01') to ('2024-01-01');
