-- expect: restarting-sequence@2, restarting-sequence@3
alter sequence tickets restart with 1;
select setval('tickets', 1);
