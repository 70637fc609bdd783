-- expect: nothing
insert into products (id, title) values (2, 'second'), (3, 'third');
