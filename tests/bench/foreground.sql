-- What an application does all day: read a row by its key and change it, in one small transaction. Run by pgbench with -D rows=N.
\set id random(1, :rows)
begin;
select name, email from customers where id = :id;
update customers set name = 'name of ' || :id where id = :id;
commit;
