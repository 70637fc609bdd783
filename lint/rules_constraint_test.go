package lint

var constraintJudgements = map[string]judgement{
	"constraint-missing-not-valid": {
		hits: hit("create table if not exists accounts (id int); alter table accounts add check (id > 0)", "alter foreign table orders add constraint c check (customer > 0)", "alter table orders add constraint c check (customer > 0);", "alter table orders add check (customer > 0);",
			"alter table orders add column x int check (x > 0);", "alter table \"Orders\" add constraint \"C d\" check (\"order\" > 0)"),
		misses: hit("drop table if exists accounts; create table if not exists accounts (id int); alter table accounts add check (id > 0)", "alter table orders add constraint c check (customer > 0) not valid;", "create table n (a int check (a > 0)); alter table n add check (a < 9)"),
	},
	"adding-foreign-key-constraint": {
		hits: append(hit("alter table orders add constraint f foreign key (customer) references customers;", "alter table orders add foreign key (customer) references customers (id) on delete cascade;",
			"alter table orders add column x bigint default 1 references customers (id) on delete set null", "alter table spare add foreign key (id) references customers", "alter table spare add foreign key (id) references customers not valid",
			"alter table orders add column x bigint default null references customers", "create domain d as bigint default 1; alter table orders add column x d references customers"),
			judged{sql: "alter table orders add column x bigint references customers;", as: Note}),
		misses: hit("alter table orders add constraint f foreign key (customer) references customers not valid;", "create table n (a bigint references customers);",
			"create table n (a bigint); alter table n add foreign key (a) references customers"),
	},
	"disallowed-unique-constraint": {
		hits: hit("alter table orders add constraint u unique (state, note);", "alter table orders add unique nulls not distinct (state) include (note);",
			"alter table customers add primary key (name);", "alter table orders add column x int unique;", "alter table elsewhere add column x int primary key", "alter table spare add unique (id, kind)"),
		misses: hit("alter table orders add constraint u unique using index orders_customer;", "create table n (a int); alter table n add unique (a);"),
	},
	"adding-primary-key-over-nullable-columns": {
		hits: hit("alter table orders drop constraint orders_pkey; alter table orders add primary key using index orders_customer;",
			"alter table elsewhere add constraint k primary key using index i;"),
		misses: hit("alter table widths drop constraint widths_pkey; alter table widths add primary key using index widths_f", "alter table orders add constraint k primary key using index orders_amount;", "alter table orders add constraint u unique using index orders_customer",
			"alter table orders add primary key (customer)"),
	},
	"adding-exclusion-constraint": {
		hits:   hit("alter table orders add exclude using gist (address inet_ops with &&);"),
		misses: hit("create table n (a int4range, exclude using gist (a with &&));", "create table n (a int4range); alter table n add exclude using gist (a with &&)"),
	},
	"validating-in-the-same-file": {
		hits: hit("alter table orders add constraint c check (customer > 0) not valid;\nalter table orders validate constraint c;",
			"alter table orders add constraint f foreign key (customer) references customers not valid;\nalter table orders validate constraint f;"),
		misses: hit("alter table orders validate constraint orders_old;", "create table n (a int); alter table n add constraint c check (a > 0) not valid; alter table n validate constraint c"),
	},
	"ban-alter-domain-with-add-constraint": {
		hits: hit("alter domain label add constraint c check (value <> '');", "alter domain label set not null;", "alter domain positive validate constraint x", "alter domain other.label add check (value <> '')"),
		misses: hit("alter domain label add constraint c check (value <> '') not valid;", "create domain d as text; alter domain d add check (value <> '')", "alter domain label drop not null",
			"alter domain label set default ''"),
	},
	"ban-create-domain-with-constraint": {
		hits:   hit("create domain d as int check (value > 0);", "create domain d as text not null;"),
		misses: hit("create domain d as int;", "create domain d as int default 1"),
	},
	"attaching-unproven-partition": {
		hits: append(hit("alter table events attach partition events_3 for values from ('2024-03-01') to ('2024-04-01');",
			"alter table events attach partition events_2 for values from ('2024-02-01') to ('2024-02-15');",
			"alter table events attach partition elsewhere for values from ('2024-02-01') to ('2024-03-01');",
			"alter table spare attach partition plots_a for values in ('a')", "create table spare_a (id bigint, kind text);\nalter table spare attach partition spare_a for values in ('a');",
			"alter table plots attach partition plots_a for values in ('a')", "alter table elsewhere attach partition events_3 default",
			"alter table plots attach partition plots_a default"),
			judged{sql: "create table far_1 (a int);\nalter table far attach partition far_1 for values in (1)", as: Warning}),
		misses: hit("alter table events attach partition events_2 for values from ('2024-02-01') to ('2024-03-01');",
			"create table events_4 (like events including all); alter table events attach partition events_4 for values from ('2024-04-01') to ('2024-05-01')"),
	},
	"require-concurrent-partition-detach": {
		hits: append([]judged{{sql: "alter table events detach partition events_1;", as: Warning}},
			hit("-- contraflow: no-transaction\nalter table spare detach partition plots_a concurrently", "alter table elsewhere detach partition elsewhere_1;", "alter table orders detach partition orders_1")...),
		misses: hit("-- contraflow: no-transaction\nalter table events detach partition events_1 concurrently;", "-- contraflow: no-transaction\nalter table events detach partition events_1 finalize"),
	},
	"creating-partition-of": {
		hits: append(hit("create table events_9 partition of events for values from ('2025-01-01') to ('2025-02-01');", "create table x partition of elsewhere default"),
			judged{sql: "create table spare_x partition of spare for values in ('x');", as: Error}),
		misses: hit("create table n (a int) partition by list (a); create table n_1 partition of n for values in (1);", "create table c () inherits (orders)"),
	},
}
