-- expect: backfill-in-ddl@2
merge into products p using customers c on p.id = c.id when matched then delete;
