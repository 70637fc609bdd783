package repair_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/repair"
)

// before is what the statements below find.
const before = `
create schema s authorization migrator; create schema old; create schema hidden; create type mood as enum ('sad', 'ok'); create type gone as (x int); create domain dom as int;
create table a (id int primary key, n int, m text default 'x', nn int not null, ident int generated always as identity,
	constraint positive check (n > 0)); alter table a add constraint later check (n > 1) not valid;
create table ref (a_id int); create table spare (id int); create table dated (d timestamptz default '2024-1-1'); create index spare_id on spare (id); create index a_n on a (n);
create view v as select 1 as x; create materialized view mv as select 1 as x; create sequence seq;
create function f() returns int language sql as 'select 1'; create function tf() returns trigger language plpgsql as 'begin return new; end';
create trigger trg before insert on a for each row execute function tf(); create policy pol on a; create rule rul as on insert to spare do also select 1;
create table parted (k int) partition by range (k); create table p1 partition of parted for values from (0) to (10); create table p2 (k int);
comment on column a.n is 'old';`

// made are statements whose effect the catalog tells: not applied before, applied after.
var made = []string{
	"create table t (n int)", "create table if not exists t (n int)", "create table s.t (n int)",
	"create table p3 partition of parted for values from (20) to (30)", `create table "Odd.name" (n int)`,
	"drop table spare", "drop table if exists spare, ref", "alter table ref rename to t", "alter table if exists ref rename to t",
	"create index i on a (n)", "create unique index if not exists i on only a (id)", "drop index a_n", "drop index if exists a_n", "alter index a_n rename to i",
	"create view w as select 1 as x", "drop view v", "alter view v rename to w", "alter table v rename to w",
	"create materialized view mw as select 1 as x", "drop materialized view mv", "alter materialized view mv rename to mw",
	"create sequence q", "create sequence if not exists q", "drop sequence seq", "alter sequence seq rename to q",
	"create schema z", "create schema if not exists z", "drop schema old", "alter schema old rename to z",
	"create type t as enum ('x')", "create type t as (x int)", "create type r as range (subtype = int4)", "create domain d as int", "drop type gone", "drop domain dom", "alter type gone rename to kept",
	"alter type mood add value 'fine'", "alter type mood add value if not exists 'fine' before 'sad'", "alter type mood rename value 'sad' to 'blue'",
	"create function g() returns int language sql as 'select 2'", "create or replace function f() returns int language sql as 'select 2'", "drop function f()", "drop function if exists f",
	"create procedure g() language sql as 'select 2'",
	"create trigger u before insert on a for each row execute function tf()", "drop trigger trg on a", "alter trigger trg on a rename to u",
	"create policy q on a using (true)", "drop policy pol on a", "alter policy pol on a rename to q",
	"drop rule rul on spare",
	"alter table a add column c int", "alter table a add column if not exists c int", "alter table a add c serial", "alter table a drop column m", "alter table a drop column if exists m", "alter table a rename column m to o",
	"alter table a alter column n type bigint", "alter table a alter column m type varchar(20) using left(m, 20)", "alter table ref alter a_id type numeric(10,2)[] using null", "alter table ref alter a_id type timestamp(3) with time zone using null",
	"alter table a alter column n set not null", "alter table a alter column nn drop not null",
	"alter table a alter column n set default 7", "alter table a alter column m set default 'y'", "alter table a alter column n set default (1 + 2)", "alter table a alter column n set default -1", "alter table a alter column m set default null", "alter table dated alter column d set default '2024-1-31'", "alter table a alter column m drop default",
	"alter table a add constraint c check (n > 2)", "alter table a add constraint c unique (n)", "alter table ref add constraint c foreign key (a_id) references a not valid", "alter table spare add primary key (id)",
	"alter table a add unique using index other_index", "alter table a drop constraint positive", "alter table a drop constraint if exists positive", "alter table a validate constraint later", "alter table a rename constraint positive to c",
	"alter table parted attach partition p2 for values from (10) to (20)", "alter table parted detach partition p1", "alter table ref inherit parent", "alter table a set schema s", "alter type mood set schema s",
	"alter table a owner to pg_database_owner", "alter schema old owner to pg_database_owner", "alter type mood owner to pg_database_owner",
	"alter table a enable row level security", "alter table a force row level security", "alter table ref alter column a_id add generated always as identity", "alter table a alter column ident drop identity", "alter table ref set unlogged",
	"comment on table a is 'new'", "comment on column a.n is 'new'", "comment on column public.a.n is null", "comment on schema s is 'new'", "comment on view v is 'new'",
	"alter table a add column c int, drop column m, alter column n set not null", "create extension pgcrypto", "create extension if not exists pgcrypto",
}

// help is what some statements above need besides.
var help = map[string]string{
	"alter table a add unique using index other_index":                   "create unique index other_index on a (id)",
	"alter table ref inherit parent":                                     "create table parent (a_id int)",
	"alter table ref alter column a_id add generated always as identity": "alter table ref alter column a_id set not null",
}

func TestTheCatalogTellsOfEachStatement(t *testing.T) {
	t.Parallel()
	for _, sql := range made {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": sql + ";"})
			b.super(t, before+help[sql])
			require.Equal(t, repair.NotApplied, b.dirty(t).Files[0].Statements[0].Standing)
			b.super(t, sql)
			st := b.dirty(t).Files[0].Statements[0]
			require.Equal(t, repair.Applied, st.Standing, st.Why)
			require.NotContains(t, st.Why+st.Summary, "fine", "no constants")
		})
	}
}

// super runs statements as one who may do everything, in the schema of the owner.
func (b bundle) super(t *testing.T, sql string) {
	t.Helper()
	b.exec(t, "select 1") // the pool connects
	conn := b.superuser(t)
	_, err := conn.Exec(t.Context(), sql)
	require.NoError(t, err)
}

// dirty inspects after a failure at version 1.
func (b bundle) dirty(t *testing.T) *repair.Report {
	t.Helper()
	b.exec(t, "create table if not exists schema_migrations (version bigint not null primary key, dirty boolean not null)")
	b.exec(t, "insert into schema_migrations values (1, true) on conflict do nothing")
	return b.inspect(t)
}

func TestWhatTheCatalogDoesntTell(t *testing.T) {
	t.Parallel()
	for sql, why := range map[string]string{
		"insert into a values ('secret')":                             "it changes rows",
		"do $$ begin perform 'secret'; end $$":                        "it calls code",
		"select setval('seq', 12)":                                    "it calls code",
		"create index on a (n)":                                       "Postgres chooses its name",
		"alter table a add check (n > 3)":                             "Postgres chooses its name",
		"create or replace view v as select 2 as x":                   "it may be another",
		"create table spare (id int, other int)":                      "it has no column other: it may be another",
		"alter table a add column m int":                              "is of another type: it may be another",
		"create table hidden.t (n int)":                               "may not look",
		"grant select on a to public":                                 "rights",
		"alter table a set (fillfactor = 70)":                         "not looked up",
		"alter table nowhere drop column x":                           "what it is about is not there",
		"alter table a alter column n set default (length('secret'))": "",
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": sql})
			b.super(t, before)
			if strings.Contains(sql, "length") {
				b.super(t, "alter table a alter column n set default (3 + length('other'))")
				why = "proves nothing"
			}
			st := b.dirty(t).Files[0].Statements[0]
			require.Equal(t, repair.Untold, st.Standing, st.Why)
			require.Contains(t, st.Why, why)
			require.NotContains(t, st.Why+st.Summary, "secret")
		})
	}
}

func TestStatementsOfOneFileThatTouchTheSame(t *testing.T) {
	t.Parallel()
	const a, n, u, x = repair.Applied, repair.NotApplied, repair.Untold, repair.Traceless
	for _, test := range []struct {
		sql           string
		first, second []repair.Standing // before and after
	}{
		{"create table t (n int); drop table t;", []repair.Standing{u, u}, []repair.Standing{u, u}},
		{"create table t (n int); alter table t add column m int; create index i on t (m);", []repair.Standing{n, n, n}, []repair.Standing{a, a, a}},
		{"create table t (n int); alter table t rename to tt;", []repair.Standing{u, n}, []repair.Standing{u, a}},
		{"alter table ref rename to ref_old; alter table spare rename to ref;", []repair.Standing{n, n}, []repair.Standing{a, a}},
		{"alter table ref rename to base; create view ref as select * from base;", []repair.Standing{n, u}, []repair.Standing{a, u}},
		{"alter table ref rename to tt; alter table tt add column m int;", []repair.Standing{n, n}, []repair.Standing{a, a}},
		{"alter table ref add column m int; alter table ref rename to tt;", []repair.Standing{u, n}, []repair.Standing{u, a}},
		{"alter table ref add column m int; alter table ref drop column m;", []repair.Standing{u, u}, []repair.Standing{u, u}},
		{"drop index a_n; create index a_n on a (n, id);", []repair.Standing{u, u}, []repair.Standing{u, u}},
		{"alter table a alter n set default 1; alter table a alter n set default 2;", []repair.Standing{u, n}, []repair.Standing{u, a}},
		{"drop table ref; create table public.ref (x int);", []repair.Standing{u, u}, []repair.Standing{u, u}},
		{"create table s.t (n int); drop schema s cascade;", []repair.Standing{u, n}, []repair.Standing{u, a}},
		{"set search_path = s; create table t (n int);", []repair.Standing{x, u}, []repair.Standing{x, u}},
		{"set local lock_timeout = '1s'; create table t (n int);", []repair.Standing{x, n}, []repair.Standing{x, a}},
	} {
		t.Run(test.sql, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": test.sql})
			b.super(t, before)
			require.Equal(t, test.first, standings(b.dirty(t)))
			b.super(t, test.sql)
			require.Equal(t, test.second, standings(b.dirty(t)))
		})
	}
}

// Wherever golang-migrate stopped, what is left is found and finished.
func TestEachPlaceToStopAt(t *testing.T) {
	t.Parallel()
	statements := []string{
		"create type state as enum ('new', 'done')",
		"alter table orders add column state state not null default 'new', add column note text",
		"create table lines (order_id int not null, n numeric(10, 2))",
		"alter table lines add constraint lines_orders foreign key (order_id) references orders (id)",
		"create index lines_order on lines (order_id)",
		"alter table orders rename column total to cents",
		"alter table orders alter column cents type bigint",
		"create function touch() returns trigger language plpgsql as $$ begin new.note := 'x; y'; return new; end $$",
		"create trigger touch before insert on orders for each row execute function touch()",
		"create view open_orders as select id from orders where state = 'new'",
		"drop table old_orders",
		"alter type state add value if not exists 'lost'",
		"comment on table lines is 'of an order'",
	}
	for stopped := range len(statements) + 1 {
		t.Run(fmt.Sprint(stopped), func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": strings.Join(statements, ";\n") + ";\n"})
			b.exec(t, "create table orders (id int primary key, total int); create table old_orders ()")
			for _, sql := range statements[:stopped] {
				b.exec(t, sql)
			}
			var want []repair.Standing
			for i := range statements {
				want = append(want, map[bool]repair.Standing{true: repair.Applied, false: repair.NotApplied}[i < stopped])
			}
			r := b.dirty(t)
			require.Equal(t, want, standings(r), "%+v", r.Files)
			way := repair.Finish
			switch stopped {
			case 0:
				require.Equal(t, repair.AsUnapplied, r.Way)
			case len(statements):
				way = repair.AsApplied
				fallthrough
			default:
				require.Equal(t, way, r.Way)
			}
			b.repaired(t, way, "1")
			b.exec(t, "update schema_migrations set dirty = true")
			require.Equal(t, repair.AsApplied, b.inspect(t).Way)
		})
	}
}

func TestAFileThatLeavesNothingIsRunAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "analyze;"})
	r := b.dirty(t)
	require.Equal(t, repair.AsUnapplied, r.Way)
	require.Equal(t, "1_a.up.sql leaves nothing that would matter, and does no harm to be run again.", r.Verdict)
	b.repaired(t, repair.AsUnapplied, "none")
	b.goesOn(t)
}
