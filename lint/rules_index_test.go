package lint

var indexJudgements = map[string]judgement{
	"require-concurrent-index-creation": {
		hits: hit("create index i on orders (note);", "create unique index on orders (customer, lower(note)) include (state) where customer > 0;", "create index on elsewhere (x);",
			"create index on totals (count);", "create index i on events (id);", "create index i on only orders (note)"),
		misses: hit("-- contraflow: no-transaction\ncreate index concurrently i on orders (note);", "create table n (a int); create index on n (a);",
			"create index i on only events (id);", "create materialized view m as select 1 as a; create unique index on m (a)"),
	},
	"require-concurrent-index-deletion": {
		hits: append(hit("drop index orders_state;", "drop index if exists orders_state, other.thing;"),
			judged{sql: "-- contraflow: no-transaction\ndrop index concurrently orders_state, orders_lower", as: Error}),
		misses: hit("-- contraflow: no-transaction\ndrop index concurrently orders_state;", "create table n (a int); create index i on n (a); drop index i", "drop table spare"),
	},
	"require-concurrent-reindex": {
		hits: hit("reindex table orders;", "reindex index orders_state;", "-- contraflow: no-transaction\nreindex schema public;", "reindex (verbose) table orders",
			"-- contraflow: no-transaction\nreindex system shop"),
		misses: hit("-- contraflow: no-transaction\nreindex table concurrently orders;", "-- contraflow: no-transaction\nreindex (concurrently) index orders_state",
			"create table n (a int primary key); reindex table n; reindex index n_pkey"),
	},
	"refreshing-materialized-view": {
		hits:   hit("refresh materialized view totals;", "refresh materialized view totals with no data"),
		misses: hit("refresh materialized view concurrently totals;", "create materialized view m as select 1; refresh materialized view m"),
	},
	"index-over-many-columns": {
		hits:   hit("-- contraflow: no-transaction\ncreate index concurrently i on orders (customer, note, state, placed);"),
		misses: hit("-- contraflow: no-transaction\ncreate index concurrently i on orders (customer, note, state);", "create unique index i on orders (customer, note, state, placed)"),
	},
	"ban-concurrent-index-creation-in-transaction": {
		hits: hit("create index concurrently i on orders (note);", "drop index concurrently orders_state;", "reindex table concurrently orders;", "vacuum orders;",
			"alter table events detach partition events_1 concurrently;", "create database d;", "alter system set work_mem = '1MB'", "reindex database shop", "cluster"),
		misses: hit("-- contraflow: no-transaction\ncreate index concurrently i on orders (note);", "analyze orders;", "alter table orders validate constraint orders_old;", "alter type mood add value 'calm' after 'sad'",
			"refresh materialized view concurrently totals"),
	},
	"needless-no-transaction": {
		hits: hit("-- contraflow: no-transaction\nalter index orders_state rename to i;", "-- contraflow: no-transaction\nupdate orders set state = 'x' where id = 1;",
			"-- contraflow: no-transaction\ntruncate orders;", "-- contraflow: no-transaction\nrefresh materialized view totals"),
		misses: hit("-- contraflow: no-transaction\nalter table orders validate constraint orders_old;", "-- contraflow: no-transaction\nalter type mood add value 'calm' after 'sad';",
			"-- contraflow: no-transaction\nvacuum analyze orders;", "alter table orders add column x int", "-- contraflow: no-transaction\nanalyze orders",
			"-- contraflow: no-transaction\nrefresh materialized view concurrently totals"),
	},
}
