-- expect: nothing
grant select on customers to public;
