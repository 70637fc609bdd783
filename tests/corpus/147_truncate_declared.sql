-- expect: nothing
-- step: irreversible
truncate items;
