-- expect: drop-cascade@3
-- step: irreversible
drop type mood cascade;
