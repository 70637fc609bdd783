-- expect: backfill-in-ddl@3, ban-duplicate-column-assignments@3
-- runs: no, because multiple assignments to same column "name"
update customers set name = 'a', name = 'b' where id = 1;
