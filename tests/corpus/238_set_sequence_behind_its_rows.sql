-- expect: nothing
select setval('tickets', coalesce(max(id), 0) + 1, false) from orders;
