package backfill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// strange settings of an application.
const strange = `set search_path = pg_catalog; set extra_float_digits = -5; set bytea_output = escape; set datestyle = german; set intervalstyle = sql_standard;
	set timezone = 'Asia/Kolkata'; set standard_conforming_strings = off; set transform_null_equals = on; set plpgsql.variable_conflict = error`

// Whatever Postgres admits, rows that go through the trigger hold what rows hold that the backfill has changed.
func TestTheTriggerComputesWhatTheBackfillComputes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, read, set, expr, values string }{
		"array":             {"", "int[]", "int", "a[2] + cardinality(a)", "('{1,2,3}'), (null), ('{}'), ('{5}')"},
		"composite":         {"create type place as (zip text, no int)", "place", "text", "(a).zip || (a).no", "('(1,2)'), (null), ('(,3)')"},
		"composite result":  {"create type place as (zip text, no int)", "text", "place", "row(a, length(a))::place", "('x'), (null)"},
		"enum":              {"create type mood as enum ('sad', 'happy')", "mood", "text", "case when a = 'happy' then 'yes' when a > 'happy'::mood then 'more' else 'no' end", "('sad'), ('happy'), (null)"},
		"jsonb":             {"", "jsonb", "text", "a #>> '{x,y}'", `('{"x":{"y":"z''\\\\"}}'), ('[]'), (null)`},
		"pattern":           {"", "text", "text", `substring(a from '^(\d+)\s') || E'\t' || '$contraflow$'`, "('12 b'), ('x'), (null)"},
		"assignment cast":   {"", "numeric", "smallint", "a * 2", "(1.4), (1.5), (null), (-3)"},
		"character padding": {"", "character(5)", "varchar(4)", "a", "('ab'), ('abcd'), (null)"},
		"collation":         {"", `text collate "C"`, "boolean", "a < 'a'", "('B'), ('b'), (null)"},
		"range and date":    {"", "daterange", "int", "upper(a) - lower(a)", "('[2024-01-01,2024-03-01)'), ('empty'), (null)"},
		"own operator": {`create schema ops; create function ops.plus(text, text) returns text language sql immutable as 'select $1 || ''+'' || $2';
			create operator ops.+ (leftarg = text, rightarg = text, function = ops.plus)`, "text", "text", "a operator(ops.+) 'x'", "('a'), (null)"},
		"function that calls another": {`create function inner_one(text) returns text language plpgsql immutable as 'begin return upper($1); end';
			create function outer_one(text) returns text language plpgsql immutable as 'begin return inner_one($1); end'`, "text", "text", "outer_one(a)", "('a'), (null)"},
		"a function's name as column": {"", `text, "length" int, found int, tg_op text, contraflow int`, "int", `length(a) + coalesce("length", found, contraflow, 3) + length(coalesce(tg_op, 'x'))`, "('abc'), (null)"},
		"big values":                  {"", "text", "text", "a || md5(a)", "(repeat('x', 100000)), ('s')"},
		"float":                       {"", "float8", "text", "a::text || '/' || a::real", "(1.0 / 3), (1e30), (null)"},
		"bytea":                       {"", "bytea", "text", "md5(a::text)", "('\\x00ff27'), (null)"},
		"comment":                     {"", "text", "text", "a -- ends here", "('x')"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if c.sql != "" {
				b.exec(t, c.sql)
			}
			b.exec(t, "create table t (id int generated always as identity primary key, trigger boolean not null default false, a "+c.read+", done boolean, b "+c.set+")")
			b.exec(t, "insert into t (a) values "+c.values)
			spec := backfill.Spec{Plan: "split", Step: "fill", Table: "t", Where: "done is null",
				Set: []backfill.Assignment{{Column: "b", Expr: c.expr}, {Column: "done", Expr: "true"}}}
			b.run(t, spec)
			b.install(t, spec)
			app := b.Connect(t)
			write := func(sql string) {
				_, err := app.Exec(t.Context(), sql)
				require.NoError(t, err, sql)
			}
			write(strange)
			write("insert into public.t (trigger, a) select true, a from public.t")
			require.Zero(t, scalar[int64](t, b, "select count(*) from t where done is not true"))
			const same = `select count(*) = 0 from (select a::text, b::text from t where trigger except all select a::text, b::text from t where not trigger) x`
			require.True(t, scalar[bool](t, b, same))
			require.Positive(t, scalar[int64](t, b, "select count(*) from t where trigger and b is not null"))
			write("update public.t set a = null where trigger")
			write("update public.t set a = (select x.a from public.t x where x.id = t.id - (select count(*) from public.t where trigger)) where trigger")
			require.True(t, scalar[bool](t, b, same))
		})
	}
}

// A rename goes past Postgres's guard: the conditions of the triggers follow it, the text of the function does not.
func TestARenamedColumnFailsNoWriteOfTheApplication(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ rename, read, want string }{
		"one that is read": {"alter table customers rename address to addr", "addr", "1 - -/2 - -/4 2 Main Street"},
		"one that is set":  {"alter table customers rename number to no", "address", "1 - -/2 1 -/4 2 Main Street"},
		"all that are set": {"alter table customers rename number to no; alter table customers rename street to road", "address", "1 - -/2 1 Main Street/4 2 Main Street"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, customers(2))
			b.run(t, splitting())
			b.install(t, splitting())
			b.exec(t, c.rename)
			b.exec(t, "insert into customers (id, "+c.read+") values (1, '7 Elm Road')")
			b.exec(t, "update customers set "+c.read+" = '8 Oak' where id = 2")
			require.Equal(t, c.want, scalar[string](t, b, `select string_agg(concat_ws(' ', r ->> 'id', coalesce(r ->> 'number', r ->> 'no', '-'),
				coalesce(r ->> 'street', r ->> 'road', '-')), '/' order by r ->> 'id') from (select to_json(c) as r from customers c) x`))
			b.remove(t)
		})
	}
}

func TestATriggerDisabledOnOnePartitionIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table customers (id int primary key, address text, number int, street text) partition by range (id);
		create table low partition of customers for values from (0) to (10) partition by range (id);
		create table lowest partition of low for values from (0) to (5); create table high partition of customers for values from (10) to (20)`)
	b.install(t, splitting())
	stamp := func() string {
		return scalar[string](t, b, "select string_agg(oid::text, ' ' order by oid) from pg_trigger where tgname ~ 'contraflow'")
	}
	first := stamp()
	b.install(t, splitting())
	require.Equal(t, first, stamp(), "nothing to do")
	b.exec(t, "alter table lowest disable trigger all")
	b.install(t, splitting())
	b.exec(t, "insert into customers (id, address) values (1, '7 Elm Road'), (11, '8 Oak')")
	require.Equal(t, "Elm Road Oak", scalar[string](t, b, "select string_agg(street, ' ' order by id) from customers"))
	b.remove(t)
}

// What docs/sync.md says of limits that Postgres sets.
func TestLimitsOfATriggerAreAsDocumented(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(2))
	b.run(t, splitting())
	b.exec(t, "update customers set number = 100, street = 'mine' where id = 2")
	b.install(t, splitting())
	b.exec(t, "update customers set address = '7 Elm Road', number = 100, street = 'mine' where id = 2")
	require.Equal(t, "7 Elm Road", scalar[string](t, b, "select number || ' ' || street from customers where id = 2"),
		"the same values again look like none")

	b.exec(t, "alter table customers alter column street set not null")
	b.exec(t, "update customers set address = '8 Oak' where id = 4")
	_, err := b.pool.Exec(t.Context(), "update customers set address = 'Oak' where id = 4")
	require.ErrorContains(t, err, "not-null")
	require.ErrorIs(t, b.InstallSync(t.Context(), splitting(), backfill.SyncOptions{}), backfill.ErrSync)
}
