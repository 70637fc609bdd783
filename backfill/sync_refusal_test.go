package backfill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

func TestSyncIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3), `alter table customers add doubled int generated always as (length(address) * 2) stored, add given uuid default gen_random_uuid(),
		add must text, add stamp timestamptz, add "new" text;
		create table others (id int primary key, street text);
		create function moody() returns text language plpgsql as 'begin return ''x''; end'`,
		"create table strict (id bigint primary key, address text, street text not null)")
	for name, c := range map[string]struct{ table, column, expr, says string }{
		"random":                  {"customers", "street", "address || random()", `column "street" cannot be repeated (Postgres: generation expression is not immutable)`},
		"the time":                {"customers", "street", "address || now()", "not immutable"},
		"the session's time zone": {"customers", "street", "stamp::text", "not immutable"},
		"a volatile function":     {"customers", "street", "moody()", "not immutable"},
		"a subquery":              {"customers", "street", "(select street from others o where o.id = customers.id)", "cannot use subquery"},
		"the whole row":           {"customers", "street", "customers::text", "whole-row"},
		"what it assigns":         {"customers", "street", "coalesce(street, address)", `reads "street", which the step sets itself`},
		"what Postgres computes":  {"customers", "street", "doubled::text", `reads "doubled", a generated column`},
		"a system column":         {"customers", "street", "tableoid::int::text", `system column "tableoid"`},
		"another system column":   {"customers", "street", "ctid::text", `system column "ctid"`},
		"a column called new":     {"customers", "street", `"new"`, `a column called "new"`},
		"a column with a default": {"customers", "given", "md5(address)::uuid", `default of column "given" is not a constant`},
		"a column never null":     {"strict", "street", "address", "let it be null until the contract step"},
	} {
		t.Run(name, func(t *testing.T) {
			err := b.InstallSync(t.Context(), backfill.Spec{Plan: "split", Step: "fill", Table: c.table, Where: c.column + " is null",
				Set: []backfill.Assignment{{Column: c.column, Expr: c.expr}}}, backfill.SyncOptions{})
			require.ErrorIs(t, err, backfill.ErrSync)
			require.ErrorContains(t, err, c.says)
			require.True(t, backfill.Permanent(err))
			require.Regexp(t, "in the application|let it be null|make it so", err.Error(), "the way out")
			require.Zero(t, b.traces(t))
		})
	}
}

func TestSyncNeedsAnExpressionAndACondition(t *testing.T) {
	t.Parallel()
	b := setup(t, customers(3))
	for says, change := range map[string]func(*backfill.Spec){
		"in Go":        func(s *backfill.Spec) { s.Set, s.Transform = nil, "geocode" },
		"no columns":   func(s *backfill.Spec) { s.Set = nil },
		"has no where": func(s *backfill.Spec) { s.Where = "" },
	} {
		spec := splitting()
		change(&spec)
		err := b.InstallSync(t.Context(), spec, backfill.SyncOptions{})
		require.ErrorIs(t, err, backfill.ErrSync)
		require.ErrorContains(t, err, says)
	}
	spec := splitting()
	spec.Set[0].Expr = "adress"
	err := b.InstallSync(t.Context(), spec, backfill.SyncOptions{})
	require.ErrorContains(t, err, `column "adress" does not exist`)
	require.True(t, backfill.Permanent(err))
	spec.Set[0].Expr = "1\n) stored; drop table customers --"
	require.Error(t, b.InstallSync(t.Context(), spec, backfill.SyncOptions{}))
	require.Zero(t, b.traces(t))
	b.install(t, splitting())
}

func TestSyncIsRefusedWhereItCouldNotBeRemoved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := open(t, b.SuperDSN).Exec(t.Context(), customers(3)+"; grant all on customers to public")
	require.NoError(t, err)
	err = b.InstallSync(t.Context(), splitting(), backfill.SyncOptions{})
	require.ErrorIs(t, err, backfill.ErrSync)
	require.ErrorContains(t, err, "only its owner can remove")
}
