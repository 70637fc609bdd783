-- expect: nothing
insert into products (id, title) values (1, 'first');
