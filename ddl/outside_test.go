package ddl

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

const buildIndex = noTransactionHeader + "\ncreate index concurrently a_n on a (n)"

// interrupted gives a database at version 1 with the intent of version 2, as a crash leaves it.
func interrupted(t *testing.T, second string) bundle {
	t.Helper()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int); insert into a select generate_series(1, 100)",
		"2_b.up.sql": second,
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := &driver{ctx: t.Context(), session: s, plan: "p", file: b.files.find(2, Up)}
	defer func() { require.NoError(t, d.Close()) }()
	require.NoError(t, d.writeIntent(b.files.SHA256(2, Up)))
	return b
}

func (b bundle) requireDone(t *testing.T) {
	t.Helper()
	b.requireState(t, at(2))
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))
}

func (b bundle) oid(t *testing.T, index string) uint32 {
	t.Helper()
	return one[uint32](t, b, "select indexrelid from pg_index where indexrelid = $1::text::regclass and indisvalid", index)
}

// invalidate marks an index as an interrupted build leaves it; only a superuser may.
func (b bundle) invalidate(t *testing.T, index string) {
	t.Helper()
	super := b.db
	super.DSN = b.db.SuperDSN
	super.Exec(t, "update pg_index set indisvalid = false where indexrelid = '"+index+"'::regclass")
}

func TestAnInterruptedBuildIsFoundInTheCatalog(t *testing.T) {
	t.Parallel()
	t.Run("absent: build", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, buildIndex)
		require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
		b.requireDone(t)
		require.NotZero(t, b.oid(t, "a_n"))
	})
	t.Run("valid: done", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, buildIndex)
		b.exec(t, "create index a_n on a (n)")
		before := b.oid(t, "a_n")
		require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
		b.requireDone(t)
		require.Equal(t, before, b.oid(t, "a_n"))
	})
	t.Run("invalid: build anew", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, buildIndex)
		b.exec(t, "create index a_n on a (n)")
		before := b.oid(t, "a_n")
		b.invalidate(t, "a_n")
		require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
		b.requireDone(t)
		require.NotEqual(t, before, b.oid(t, "a_n"))
	})
	t.Run("valid, from another text: ask", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, buildIndex)
		b.exec(t, "create index a_n on a ((n + 1))")
		b.exec(t, "update contraflow.ddl_intent set statement_sha = 'other'")
		require.ErrorIs(t, b.engine("p").Up(t.Context(), 2, ""), ErrInspect)
		b.requireState(t, at(1))
	})
}

func TestIfNotExistsDoesNotPassOverAStrangersInvalidIndex(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int)",
		"2_b.up.sql": noTransactionHeader + "\ncreate index concurrently if not exists a_n on a (n)",
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.exec(t, "create index a_n on a (n)")
	b.invalidate(t, "a_n")
	require.ErrorIs(t, b.engine("p").Up(t.Context(), 2, ""), ErrInspect)
	b.requireNothingBegun(t)
	require.NoError(t, b.engine("p").Withdraw(t.Context(), 2, ""))
	require.True(t, b.has(t, "a_n"), "it isn't ours to drop")
}

func TestAFailedBuildIsRepairedOnceItsCauseIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql":   "create table a (n int); insert into a values (1), (1)",
		"2_b.up.sql":   noTransactionHeader + "\ncreate unique index concurrently a_n on a (n)",
		"2_b.down.sql": noTransactionHeader + "\ndrop index concurrently a_n",
	})
	e := b.engine("p")
	require.NoError(t, e.Up(t.Context(), 1, ""))
	var failed *StatementError
	require.ErrorAs(t, e.Up(t.Context(), 2, ""), &failed)
	require.Equal(t, 2, failed.Line)
	b.requireState(t, at(1))

	b.exec(t, "delete from a where ctid in (select ctid from a limit 1)")
	require.NoError(t, e.Up(t.Context(), 2, ""))
	b.requireDone(t)
	require.NotZero(t, b.oid(t, "a_n"))
	require.NoError(t, e.Down(t.Context(), 2, ""))
	require.False(t, b.has(t, "a_n"))
	b.requireState(t, at(1))
}

func TestOtherInterruptedStatements(t *testing.T) {
	t.Parallel()
	t.Run("repeatable: run", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, noTransactionHeader+"\ncreate sequence if not exists m")
		require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
		b.requireDone(t)
	})
	t.Run("dropped already: done", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, noTransactionHeader+"\ndrop index concurrently gone")
		require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
		b.requireDone(t)
	})
	t.Run("else: ask", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, noTransactionHeader+"\ninsert into a values (101)")
		err := b.engine("p").Up(t.Context(), 2, "")
		require.ErrorIs(t, err, ErrInspect)
		require.ErrorContains(t, err, "contraflow.ddl_intent")
		require.Equal(t, 100, one[int](t, b, "select count(*)::int from a"))
		b.requireState(t, at(1))
	})
	t.Run("refused by Postgres: no intent stays", func(t *testing.T) {
		t.Parallel()
		b := setup(t, map[string]string{"1_a.up.sql": noTransactionHeader + "\nalter type nowhere add value 'x'"})
		var failed *StatementError
		for range 2 {
			require.ErrorAs(t, b.engine("p").Up(t.Context(), 1, ""), &failed)
			require.Equal(t, "42704", failed.SQLState)
		}
	})
}

func TestACancelledBuildIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int)", "2_b.up.sql": buildIndex})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	_, end := b.reading(t)
	writer := b.db.Connect(t)
	for _, sql := range []string{"begin", "insert into a values (1)"} {
		_, err := writer.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e := b.unafraid(Options{Plan: "p", LockTimeout: brief, OnWait: func(Waiting) { cancel() }})
	require.ErrorIs(t, e.Up(ctx, 2, ""), context.Canceled)
	b.requireState(t, at(1))
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))

	_, err := writer.Exec(t.Context(), "commit")
	require.NoError(t, err)
	end()
	require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
	b.requireDone(t)
	require.NotZero(t, b.oid(t, "a_n"))
}
