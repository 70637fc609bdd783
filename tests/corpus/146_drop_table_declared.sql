-- expect: nothing
-- step: irreversible
drop table items;
