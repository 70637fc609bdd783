package lint

var objectJudgements = map[string]judgement{
	"ban-drop-column": {
		hits:   hit("alter table orders drop column note;", "alter table elsewhere drop column if exists x cascade;"),
		misses: hit("alter table orders add column x int; alter table orders drop column x;", "create table n (a int); alter table n drop column a", "alter table orders drop constraint state_known"),
	},
	"ban-drop-table": {
		hits:   hit("drop table items;", "drop table if exists elsewhere, items;"),
		misses: hit("create table n (a int); drop table n;", "drop view open_orders"),
	},
	"ban-drop-object": {
		hits: append(hit("drop sequence s; create sequence s;\n", "drop type mood; create type mood as enum ('a')", "drop publication p", "drop view open_orders;", "drop function helper();", "drop type mood;", "drop schema if exists old;", "drop materialized view totals", "drop domain label", "drop sequence s", "drop extension hstore"),
			judged{sql: "drop view open_orders; create view open_orders as select id from orders;", as: Warning},
			judged{sql: "drop function if exists helper; create function helper(int) returns int language sql as 'select 2'", as: Warning}),
		misses: hit("create view v as select 1; drop view v;", "drop trigger x on orders", "drop index orders_state",
			"alter type mood rename to mood_old; create type mood as enum ('sad'); drop type mood_old"),
	},
	"ban-drop-constraint": {
		hits: hit("alter table orders drop constraint amount_positive;", "alter table elsewhere drop constraint x;", "-- contraflow: no-transaction\ndrop index concurrently orders_customer;", "drop index orders_amount",
			"alter table orders no inherit elsewhere"),
		misses: hit("drop index orders_state", "drop index orders_amount; create unique index orders_amount on orders (amount)", "create unique index u on orders (amount); drop index orders_amount", "alter table orders drop constraint orders_old;", "alter table orders drop constraint amount_positive; alter table orders add constraint amount_positive check (amount > 1) not valid",
			"alter table orders alter state set not null; alter table orders drop constraint state_known"),
	},
	"drop-cascade": {
		hits:   hit("drop table customers cascade;", "alter table orders drop column note cascade;", "drop schema old cascade", "drop owned by someone", "alter table orders drop constraint orders_pkey cascade"),
		misses: hit("drop table customers;", "alter table orders drop column note", "create table n (a int); drop table n cascade"),
	},
	"renaming-column": {
		hits: hit("alter table orders rename column note to remark;", "alter table elsewhere rename x to y;", "alter view open_orders rename column note to remark"),
		misses: hit("create table n (a int); alter table n rename a to b;", "alter table orders add x int; alter table orders rename x to y;", "alter table orders rename constraint state_known to known",
			"alter type pair rename attribute a to c"),
	},
	"renaming-table": {
		hits: hit("alter table orders rename to purchases;", "alter table orders set schema sales;", "alter table sales.orders rename to \"Order\""),
		misses: hit("alter table orders rename to purchases; create view orders as select * from purchases;", "create table n (a int); alter table n rename to m;",
			"alter index orders_state rename to i", "create table orders_new (id bigint); alter table orders rename to orders_old; alter table orders_new rename to orders"),
	},
	"renaming-object": {
		hits: hit("alter view open_orders rename to v;", "alter type mood rename value 'sad' to 'blue';", "alter schema old rename to new;", "alter function helper() rename to h;",
			"alter type pair rename attribute a to c", "alter type mood rename to feeling", "alter function helper() set schema sales", "alter sequence s rename to r", "alter materialized view totals rename to sums"),
		misses: hit("alter type mood rename to mood_old; create type mood as enum ('sad')", "create view v as select 1; alter view v rename to w;", "alter table orders rename note to remark", "alter table orders rename constraint state_known to known", "alter index orders_state rename to i"),
	},
	"ban-disable-trigger": {
		hits:   hit("alter table orders disable trigger all;", "alter table orders disable trigger t;", "alter table orders disable rule r"),
		misses: hit("alter table orders enable trigger t;", "create table n (a int); alter table n disable trigger all"),
	},
	"enabling-row-security": {
		hits:   hit("alter table orders enable row level security;", "alter table orders force row level security;", "alter table orders disable row level security"),
		misses: hit("create table n (a int); alter table n enable row level security;", "create policy p on orders using (true)"),
	},
	"creating-rule": {
		hits:   hit("create rule r as on insert to orders do instead nothing;"),
		misses: hit("create table n (a int); create rule r as on insert to n do instead nothing;", "create trigger t after insert on orders for each row execute function tell()"),
	},
	"changing-owner": {
		hits:   hit("alter table orders owner to bob;", "reassign owned by a to b"),
		misses: hit("create table n (a int); alter table n owner to bob;"),
	},
	"ban-replica-identity": {
		hits:   hit("alter table orders replica identity full;", "alter table orders replica identity nothing"),
		misses: hit("alter table orders replica identity using index orders_amount;", "alter table orders replica identity default"),
	},
	"ban-replace-view-function": {
		hits: hit("create or replace view open_orders as select * from orders;", "create or replace function helper() returns int language sql as 'select 2'"),
		misses: hit("create or replace function fresh() returns int language sql as 'select 2';", "create view v as select 1; create or replace view v as select 2 as a",
			"create or replace procedure p() language sql as 'select 1'"),
	},
	"altering-composite-type": {
		hits:   append(hit("alter type pair drop attribute a;", "alter type pair alter attribute a type text"), judged{sql: "alter type pair add attribute c int", as: Warning}),
		misses: hit("create type p as (a int); alter type p drop attribute a;", "alter type mood add value 'x' after 'sad'"),
	},
	"require-enum-value-ordering": {
		hits:   hit("alter type mood add value 'calm';", "alter type elsewhere add value 'x'"),
		misses: hit("alter type mood add value 'calm' before 'happy';", "alter type mood rename value 'sad' to 'blue'"),
	},
	"enum-value-used-at-once": {
		hits:   []judged{{sql: "alter type mood add value 'calm' after 'sad';\nupdate orders set state = 'x' where state = 'calm';", line: 1}},
		misses: hit("alter type mood add value 'calm' after 'sad'; comment on type mood is 'calm'", "create type m as enum ('a'); alter type m add value 'b'; select 'b'", "alter type mood add value 'calm' after 'sad'; select 'quiet'"),
	},
	"restarting-sequence": {
		hits: hit("select setval('orders_id_seq', 1);", "alter sequence s restart;", "alter sequence s restart with 5", "alter table orders alter id restart with 1",
			"insert into customers values (pg_catalog.setval('s', 3))"),
		misses: hit("select setval('s', (select max(id) from orders));", "select setval('s', coalesce(max(id), 0) + 1, false) from orders", "create sequence n; alter sequence n restart with 5; select setval('n', 9)",
			"alter sequence s maxvalue 100", "alter table orders alter id set generated always"),
	},
}
