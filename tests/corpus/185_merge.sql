-- expect: backfill-in-ddl@3
-- runs: from 15, because Postgres knows MERGE since then
merge into products p using customers c on p.id = c.id when matched then delete;
