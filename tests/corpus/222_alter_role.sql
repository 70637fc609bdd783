-- expect: reaches-beyond-database@2
alter role migrator set work_mem = 1024;
