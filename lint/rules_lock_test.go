package lint

var lockJudgements = map[string]judgement{
	"several-tables-in-one-file": {
		hits: hit("alter table orders add column x int;\nalter table customers add column x int;", "create trigger t after insert on orders for each row execute function tell();\ndrop table items;",
			"drop trigger t on orders;\nlock table customers"),
		misses: hit("alter table orders add column x int; alter table orders add column y int;", "create table n (a int); alter table orders add column x int;",
			"alter table orders validate constraint orders_old; alter table customers add x int", "create table n (a int); create index on n (a); alter table customers add x int"),
	},
	"slow-statement-under-lock": {
		hits: hit("alter table orders add column x int;\nalter table orders validate constraint orders_old;", "alter table orders add column x int, validate constraint orders_old;",
			"alter table orders add column x int;\nupdate orders set x = 1;", "drop table items;\ncreate table n as select * from orders;", "alter table orders add x int;\nselect count(*) from orders",
			"create table n (a bigint references customers);\ninsert into n select id from orders;", "lock table orders;\nrefresh materialized view concurrently totals", "alter table orders add column z int;\nselect pg_sleep(0)", "alter table orders add column z int;\nexplain (analyze) select * from customers", "alter table customers add x int;\ndelete from items where n = 1", "alter table orders add x int;\ninsert into customers select id from orders",
			"alter table orders add x int;\nwith gone as (select id from items) update orders set x = 1 where id in (select id from gone)"),
		misses: hit("alter table orders validate constraint orders_old;", "alter table orders add column x int; update orders set x = 1 where id = 5;",
			"create table n (a int); insert into n values (1); alter table orders add x int; update n set a = 2", "alter table orders add x int; insert into customers values (1, 'a')",
			"update orders set state = 'x' where state = 'y'; alter table orders add column x int", "alter table orders add x int; select 1", "alter table orders add x int; create table n as select * from customers with no data",
			"alter table customers validate constraint unknown", "select pg_sleep(0)", "alter table orders add column z int; explain select * from customers",
			"alter table orders add x int; insert into customers select 1, 'a' where not exists (select 1 from customers)"),
	},
	"lock-table": {
		hits:   hit("lock table orders;", "lock table orders in share mode"),
		misses: hit("lock table orders in row exclusive mode;", "create table n (a int); lock table n"),
	},
	"backfill-in-ddl": {
		hits: append(hit("update orders set state = 'new', note = null where state is null;", "delete from orders where id < 5;", "insert into customers select id, note from orders;",
			"with gone as (delete from items returning *) select count(*) from gone;", "update orders set state = 'x' where id = customer", "copy orders from '/tmp/x'", "insert into customers select n from generate_series(1, 1000000) n", "with t as (select id from items) insert into customers select 1, 'a'", "update elsewhere set x = 1 where id = 1",
			"merge into orders o using customers c on c.id = o.customer when matched then update set note = c.name", "update items set n = 2 where order_id = 1", "update orders set \"order\" = 'it''s'"),
			judged{sql: "update orders set state = 'x' from customers c where c.id = 5"}, judged{sql: "delete from orders using customers where customers.id = 5 and orders.customer = customers.id"},
			judged{sql: "update orders set state = 'x' from customers c where id = 5"},
			judged{sql: "insert into customers select generate_series(10000, 10100), 'x'"}, judged{sql: "insert into customers select many(), 'x'"},
			judged{sql: "explain analyze update orders set state = 'y'"}, judged{sql: "select * from orders for update"},
			judged{sql: "create table orders_new (like orders including all);\ninsert into orders_new select * from orders;\nalter table orders rename to orders_old;\nalter table orders_new rename to orders", line: 2},
			judged{sql: "update orders o set state = 'x' from customers c where o.id = 5 and c.id = o.customer", as: Note},
			judged{sql: "update orders set state = 'x' where id = any (array[1, 2])", as: Note},
			judged{sql: "update orders set state = 'x' where id in (1, 2) and state is null;", as: Note},
			judged{sql: "create table n (a bigint);\ninsert into n select id from orders;", as: Warning}),
		misses: hit("insert into customers values ((select max(id) + 1 from orders), 'x')", "insert into customers select 1, 'sad' where not exists (select 1 from customers where name = 'sad')",
			"insert into customers (name) select unnest(array['a', 'b'])", "insert into customers (name) select n from unnest(array['a', 'b']) n", "explain update orders set state = 'y'", "select * from orders where id = 5 for update",
			"insert into customers default values", "insert into customers values (1, 'a'), (2, 'b');", "insert into customers select 1, 'a';", "insert into customers select * from (values (1, 'a')) as v where not exists (select 1)", "create table n (a int); insert into n values (1); update n set a = 2;", "select * from orders"),
	},
	"ban-duplicate-column-assignments": {
		hits:   hit("update orders set state = 'a', state = 'b' where id = 1;", "insert into customers (id, id) values (1, 2)", "insert into customers values (1) on conflict (id) do update set name = 'a', name = 'b'"),
		misses: hit("update orders set state = 'a', note = 'b' where id = 1;", "update orders set tags[1] = 'a', tags[2] = 'b' where id = 1"),
	},
	"ban-truncate": {
		hits:   hit("truncate orders;", "truncate table elsewhere, orders"),
		misses: hit("create table n (a int); truncate n;"),
	},
	"ban-truncate-cascade": {
		hits:   hit("truncate customers cascade;"),
		misses: hit("truncate customers;"),
	},
	"opaque": {
		hits:   hit("do $$ begin perform 1; end $$;", "call something(1);", "select helper();", "select create_hypertable('orders', 'placed')", "execute prepared"),
		misses: hit("select setval('s', 10);", "select count(*) from orders;", "select now()"),
	},
	"lifts-lock-timeout": {
		hits: hit("select set_config('LOCK_TIMEOUT', '0', false)", "select * from set_config('lock_timeout', '0', false)", "with c as (select set_config('lock_timeout', '0', true)) select from c", "set lock_timeout = '100ms'",
			"set local lock_timeout = '0'", "set local lock_timeout to default", "set lock_timeout = 0;", "set local lock_timeout to '10s';", "reset lock_timeout", "select set_config('lock_timeout', '0', false)", "reset all", "discard all"),
		misses: hit("set local work_mem = '1GB';", "select set_config('work_mem', '1GB', true)", "set local lock_timeout = '200ms'", "set local lock_timeout = 500", "select set_config('lock_timeout', '0.1s', true)"),
	},
	"changes-session": {
		hits: hit("select pg_catalog.set_config('search_path', '', false);", "select set_config('search_path', 'sales', true)", "select set_config('Work_mem', '1GB', false)", "set work_mem = '1GB';", "set session statement_timeout = 0;", "set role bob;", "set local search_path = sales;", "set session authorization bob", "set session_replication_role = replica"),
		misses: hit("set local work_mem = '1GB';", "reset work_mem", "set lock_timeout = 0", "set transaction isolation level serializable", "select set_config('work_mem', '1GB', true)",
			"create function f() returns text language sql set search_path = '' as $$ select set_config('work_mem', '1GB', false) $$"),
	},
	"reaches-beyond-database": {
		hits:   hit("create role bob;", "-- contraflow: no-transaction\nalter system set work_mem = '1GB';", "alter database shop set work_mem = '1GB'", "alter role bob set work_mem = '1GB'", "grant a to b", "drop role bob"),
		misses: hit("grant select on orders to bob;", "create schema s"),
	},
	"ban-drop-database": {
		hits:   hit("-- contraflow: no-transaction\ndrop database shop;"),
		misses: hit("drop schema shop;"),
	},
	"ban-revoke": {
		hits: hit("revoke select on orders from bob;", "revoke all on all tables in schema public from bob", "revoke usage on schema public from bob", "revoke execute on function helper() from bob",
			"alter default privileges revoke select on tables from bob", "revoke all on function helper() from public", "revoke select (id) on orders from bob"),
		misses: hit("grant select on orders to bob;", "create table n (a int); revoke all on n from public", "create function f() returns int language sql as 'select 1'; revoke all on function f() from public",
			"alter default privileges grant select on tables to bob"),
	},
}
