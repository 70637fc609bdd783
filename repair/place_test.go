package repair_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/repair"
)

// elsewhere puts another team's schema behind our own in the search_path.
func elsewhere(t *testing.T, files map[string]string, sql string) bundle {
	t.Helper()
	b := setup(t, files)
	b.super(t, "create schema app authorization migrator; do $$ begin execute format('alter database %I set search_path = app, public', current_database()); end $$; "+sql)
	b.pool.Reset()
	return b
}

func TestObjectsOfAnotherSchemaAreNotTakenForTheFiles(t *testing.T) {
	t.Parallel()
	const theirs = `create table public.users (id bigint, name text); create index users_name on public.users (name); create type public.st as enum ('a');
		create view public.v as select 1 as x; create sequence public.q; create function public.f() returns int language sql as 'select 1'; create domain public.d as int;`
	b := elsewhere(t, map[string]string{"1_a.up.sql": `create table users (id bigint, name text);
		alter table users add column extra int; alter table users add column name text; create index users_name on users (name); create type st as enum ('a');
		create view v as select 1 as x; create sequence q; create function f() returns int language sql as 'select 1'; create domain d as int; create materialized view m as select 1 as x;`}, theirs)
	r := b.dirty(t)
	require.Equal(t, "app", r.Schema)
	for _, st := range r.Files[0].Statements {
		require.Equal(t, repair.NotApplied, st.Standing, "%s: %s", st.Summary, st.Why)
	}
	require.Equal(t, repair.AsUnapplied, r.Way)
}

func TestPostgresOwnTypesAreNotTakenForTheFiles(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create type path as enum ('a');\ncreate domain line as text;\n"})
	require.Equal(t, repair.AsUnapplied, b.dirty(t).Way)
	b.exec(t, "create type public.path as enum ('a'); create domain public.line as text")
	require.Equal(t, repair.AsApplied, b.dirty(t).Way)
}

// What the search_path finds once our own is gone is another team's: to finish would drop it.
func TestWhatIsDroppedIsNotLookedUpElsewhere(t *testing.T) {
	t.Parallel()
	b := elsewhere(t, map[string]string{"1_a.up.sql": "create table n (x int);\ndrop table users;\ndrop type st;\ndrop function f();\n"},
		"create table public.users (id int); create type public.st as enum ('x'); create function public.f() returns int language sql as 'select 1'; create table app.n (x int); alter table app.n owner to migrator")
	r := b.dirty(t)
	require.Equal(t, []repair.Standing{repair.Applied, repair.Untold, repair.Untold, repair.Untold}, standings(r))
	for _, st := range r.Files[0].Statements[1:] {
		require.Contains(t, st.Why, "it may be another")
	}
	b.refused(t, repair.Finish, "can't tell")
	b.exec(t, "create table app.users (id int); create type app.st as enum ('x'); create function app.f() returns int language sql as 'select 1'")
	require.Equal(t, []repair.Standing{repair.Applied, repair.NotApplied, repair.NotApplied, repair.NotApplied}, standings(b.dirty(t)))
	b.super(t, "drop table app.users, public.users; drop type app.st, public.st; drop function app.f, public.f")
	require.Equal(t, repair.AsApplied, b.dirty(t).Way)
}

func TestWhatIsAlteredIsFoundBySearchPath(t *testing.T) {
	t.Parallel()
	b := elsewhere(t, map[string]string{"1_a.up.sql": "alter table users add column extra int; create index users_name on users (name);"}, "create table public.users (id bigint, name text)")
	require.Equal(t, repair.AsUnapplied, b.dirty(t).Way)
	b.super(t, "set search_path = app, public; alter table users add column extra int; create index users_name on users (name)")
	require.Equal(t, repair.AsApplied, b.dirty(t).Way)
}

func TestADomainIsAType(t *testing.T) {
	t.Parallel()
	const domains = "create domain dd as int; create domain code as varchar(5) not null; create table c (b int, d int, s varchar(5))"
	b := setup(t, map[string]string{"1_a.up.sql": "alter table c alter b type dd;\nalter table c add column e dd;\nalter table c add column f code[];\nalter table c alter s type code;\nalter table c add g code default 'x';\n"})
	b.exec(t, domains)
	r := b.dirty(t)
	require.Equal(t, repair.AsUnapplied, r.Way, "%+v", r.Files[0].Statements)
	b.exec(t, "alter table c alter b type dd; alter table c add column e dd; alter table c add column f code[]; alter table c alter s type code; alter table c add g code default 'x'")
	r = b.dirty(t)
	require.Equal(t, repair.AsApplied, r.Way, "%+v", r.Files[0].Statements)

	b.exec(t, "alter table c alter e type int, alter b type int")
	st := b.dirty(t).Files[0].Statements
	require.Equal(t, repair.NotApplied, st[0].Standing)
	require.Equal(t, repair.Untold, st[1].Standing)
	require.Contains(t, st[1].Why, "another type")
}

// The index has become the constraint's and bears its name.
func TestAnIndexThatALaterLineTakesIsNotMissing(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create unique index ui on c (id);\nalter table c add constraint uc unique using index ui;\n"})
	b.exec(t, "create table c (id int, n int)")
	require.Equal(t, repair.AsUnapplied, b.dirty(t).Way)
	b.exec(t, "create unique index ui on c (id)")
	require.Equal(t, repair.NotApplied, b.dirty(t).Files[0].Statements[1].Standing)
	b.exec(t, "alter table c add constraint uc unique using index ui")
	require.Equal(t, repair.AsApplied, b.dirty(t).Way)
	b.refused(t, repair.Finish, "nothing left to run")
	b.repaired(t, repair.AsApplied, "1")

	b.exec(t, "update schema_migrations set dirty = true; alter table c drop constraint uc, add constraint uc unique (n)")
	for _, st := range b.dirty(t).Files[0].Statements {
		require.Equal(t, repair.Untold, st.Standing)
		require.Contains(t, st.Why, "it may be another")
	}
}

func TestTemporaryTablesLeaveNothing(t *testing.T) {
	t.Parallel()
	file := `create temp table tt (n int);
insert into tt select generate_series(1, 3);
create index tt_n on tt (n);
create temporary table more as select * from tt;
update more set n = 1;
create table n (x int);
create table m (x int);
drop table tt, more;
`
	b := setup(t, map[string]string{"1_a.up.sql": file, "1_a.down.sql": "drop table n, m;"})
	require.Equal(t, repair.AsUnapplied, b.dirty(t).Way)
	b.exec(t, "create table n (x int)")
	const z = repair.Traceless
	r := b.dirty(t)
	require.Equal(t, []repair.Standing{z, z, z, z, z, repair.Applied, repair.NotApplied, z}, standings(r))
	b.repaired(t, repair.Finish, "1")
	b.exec(t, "update schema_migrations set dirty = true")
	require.Equal(t, repair.AsApplied, b.inspect(t).Way)
	b.repaired(t, repair.AsApplied, "1")
	b.goesOn(t)
}

// Whoever looks, leaves nothing and waits for nobody.
func TestALookChangesNothingAndGivesWay(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create view v as select n from a;\ncreate index a_n on a (n) where n > 0;\n"})
	b.exec(t, "create table a (n int); create view v as select n from a; create index a_n on a (n) where n > 0")
	const objects = "select count(*)::int from pg_class"
	before := one[int](t, b, objects)
	require.Equal(t, repair.AsApplied, b.dirty(t).Way)
	require.Equal(t, before+2, one[int](t, b, objects), "only schema_migrations and its key")

	tx, err := b.db.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "lock table a")
	require.NoError(t, err)
	r := b.inspect(t)
	require.Equal(t, []repair.Standing{repair.Untold, repair.Untold}, standings(r))
	require.Contains(t, r.Files[0].Statements[0].Why, "55P03")
	require.NoError(t, tx.Rollback(t.Context()))
}
