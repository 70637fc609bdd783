package backfill_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

// refused asks for the reason why a table cannot be walked, and sees that asking changes nothing.
func (b bundle) refused(t *testing.T, spec backfill.Spec) error {
	t.Helper()
	_, err := b.Inspect(t.Context(), spec)
	require.Error(t, err)
	require.True(t, backfill.Permanent(err))
	_, again := b.Prepare(t.Context(), spec)
	require.EqualError(t, again, err.Error())
	require.Zero(t, scalar[int](t, b, "select count(*)::int from contraflow.backfill_lane"))
	return err
}

func TestAnIndexThatCannotLeadThroughTheTableIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		index, reason string
	}{
		"mixed directions":       {"create unique index i on t (a, b desc)", "mixed directions"},
		"nulls first":            {"create unique index i on t (a nulls first, b nulls first)", "nulls at the unusual end"},
		"descending, nulls last": {"create unique index i on t (a desc nulls last, b desc nulls last)", "nulls at the unusual end"},
		"partial":                {"create unique index i on t (a, b) where a > 0", "covers only the rows of its condition"},
		"expression":             {"create unique index i on t (a, lower(b))", "is over an expression"},
		"another collation":      {`create unique index i on t (a, b collate "POSIX")`, "another collation or operator class"},
		"another operator class": {"create unique index i on t (a, b text_pattern_ops)", "another collation or operator class"},
		"more columns":           {"create unique index i on t (a, b, n)", `key columns that would do: ("a", "b", "n")`},
		"not unique":             {"create index i on t (a, b)", ""},
		"hash":                   {"create index i on t using hash (a)", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, "create table t (a int not null, b text not null, n int not null)", c.index)
			spec := counting("t")
			spec.Key = []string{"a", "b"}
			err := b.refused(t, spec)
			require.ErrorIs(t, err, backfill.ErrNoKey)
			require.ErrorContains(t, err, c.reason)
			require.ErrorContains(t, err, `create one: create unique index concurrently on "public"."t" ("a", "b")`)

			b.exec(t, `create unique index concurrently on "public"."t" ("a", "b")`) // as the error says
			_, err = b.Inspect(t.Context(), spec)
			require.NoError(t, err)
		})
	}
}

func TestAnIndexWhoseBuildFailedIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, "create table t (id int not null, n int)", "insert into t select 1 from generate_series(1, 2)")
	_, err := b.pool.Exec(t.Context(), "create unique index concurrently i on t (id)")
	require.Error(t, err)
	spec := counting("t")
	spec.Key = []string{"id"}
	err = b.refused(t, spec)
	require.ErrorIs(t, err, backfill.ErrNoKey)
	require.ErrorContains(t, err, `unique index "i" is not valid`)
}

func TestAColumnThatMayHoldNullsIsNoKey(t *testing.T) {
	t.Parallel()
	b := setup(t, "create table t (id int unique, n int)")
	spec := counting("t")
	spec.Key = []string{"id"}
	require.ErrorContains(t, b.refused(t, spec), "nullable")
	if scalar[int](t, b, "select current_setting('server_version_num')::int") < 180000 {
		return
	}
	// Since then a column may be called not null while old rows still hold nulls.
	b.exec(t, "insert into t values (null, 0)")
	b.exec(t, "alter table t add constraint known not null id not valid")
	require.ErrorContains(t, b.refused(t, spec), "nullable")
	b.exec(t, "delete from t")
	b.exec(t, "alter table t validate constraint known")
	_, err := b.Inspect(t.Context(), spec)
	require.NoError(t, err)
}

func TestAPrimaryKeyOverPeriodsIsNoKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if scalar[int](t, b, "select current_setting('server_version_num')::int") < 180000 {
		_, err := b.pool.Exec(t.Context(), "create table t (id int4range, during tsrange, primary key (id, during without overlaps))")
		require.Error(t, err, "no such thing yet")
		return
	}
	b.exec(t, "create table t (id int4range, during tsrange, n int, primary key (id, during without overlaps))")
	err := b.refused(t, counting("t"))
	require.ErrorIs(t, err, backfill.ErrNoKey)
	require.ErrorContains(t, err, `unique index "t_pkey" is no btree index`)
}

func TestWhatIsNoTableOfOurOwnIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(10), "create view seen as select * from numbers",
		"create materialized view kept as select * from numbers", "create sequence counter")
	super, err := pgx.Connect(t.Context(), b.SuperDSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = super.Close(context.Background()) })
	_, err = super.Exec(t.Context(), "create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere; "+
		"create foreign table distant (id int not null, n int) server nowhere; grant all on distant to "+pgtest.Role)
	require.NoError(t, err)
	for _, name := range []string{"seen", "kept", "counter", "distant"} {
		err := b.refused(t, counting(name))
		require.ErrorIs(t, err, backfill.ErrNoTable, name)
		require.ErrorContains(t, err, "neither an ordinary nor a partitioned table")
	}

	// The table of another session's, under its full name.
	other := b.Connect(t)
	_, err = other.Exec(t.Context(), "create temporary table mine (id int primary key, n int)")
	require.NoError(t, err)
	var schema string
	require.NoError(t, other.QueryRow(t.Context(), "select nspname from pg_namespace where oid = pg_my_temp_schema()").Scan(&schema))
	require.ErrorContains(t, b.refused(t, counting(schema+".mine")), "permission denied for schema")
}

func TestColumnsThatPostgresGeneratesAreNotSet(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table t (id int primary key, n int, "Twice" int generated always as (n * 2) stored, no int generated always as identity,
		free int generated by default as identity)`)
	columns := []string{`"Twice"`, "no"}
	if scalar[int](t, b, "select current_setting('server_version_num')::int") >= 180000 {
		b.exec(t, "alter table t add live int generated always as (n * 3) virtual")
		columns = append(columns, "live")
	}
	for _, column := range columns {
		spec := counting("t")
		spec.Set[0] = backfill.Assignment{Column: column, Expr: "1"}
		err := b.refused(t, spec)
		require.ErrorIs(t, err, backfill.ErrSpec)
		require.ErrorContains(t, err, "Postgres generates always")
	}
	spec := counting("t")
	spec.Set[0] = backfill.Assignment{Column: "free", Expr: "n"}
	_, err := b.Inspect(t.Context(), spec)
	require.NoError(t, err)
}

func TestWhatTheKeyIsComputedFromIsNotSet(t *testing.T) {
	t.Parallel()
	b := setup(t, `create table t (n int, "Other" int, x int, id int generated always as (n * 2 + "Other") stored primary key)`)
	for _, column := range []string{"n", `"Other"`} {
		spec := counting("t")
		spec.Set[0].Column = column
		err := b.refused(t, spec)
		require.ErrorIs(t, err, backfill.ErrSpec)
		require.ErrorContains(t, err, "from which the key")
	}
	spec := counting("t")
	spec.Set[0].Column = "x"
	_, err := b.Inspect(t.Context(), spec)
	require.NoError(t, err)
}

func TestARuleOnTheTableIsRefusedAsPostgresSays(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(10), "create rule never as on update to numbers do instead nothing")
	require.ErrorContains(t, b.refused(t, counting("numbers")), "0A000")
}
