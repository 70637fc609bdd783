package ddl

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

const uniqueIndex = noTransactionHeader + "\ncreate unique index concurrently a_n on a (n)"

func (b bundle) requireNothingBegun(t *testing.T) {
	t.Helper()
	begun, err := b.engine("p").Begun(t.Context())
	require.NoError(t, err)
	require.Empty(t, begun)
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))
	b.requireState(t, at(1))
}

// Until its rollback an invalid unique index refuses what the application writes.
func TestABuildThatWasCutOffIsWithdrawn(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]string{
		"no index":     "",
		"a valid one":  "create unique index a_n on a (n)",
		"one in doubt": "create unique index a_n on a (n) -- made invalid below",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := interrupted(t, uniqueIndex)
			if left != "" {
				b.exec(t, left)
			}
			if name == "one in doubt" {
				b.invalidate(t, "a_n")
			}
			begun, err := b.engine("p").Begun(t.Context())
			require.NoError(t, err)
			require.Equal(t, []uint{2}, begun)
			begun, err = b.engine("other").Begun(t.Context())
			require.NoError(t, err)
			require.Empty(t, begun)
			require.NoError(t, b.engine("other").Withdraw(t.Context(), 2, ""))
			require.Equal(t, left != "", b.has(t, "a_n"), "it is not theirs")

			for range 2 {
				require.NoError(t, b.engine("p").Withdraw(t.Context(), 2, b.files.SHA256(2, Up)))
				require.False(t, b.has(t, "a_n"))
				b.requireNothingBegun(t)
			}
		})
	}
}

func TestACancelledBuildIsWithdrawn(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int)", "2_b.up.sql": uniqueIndex})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	writer := b.db.Connect(t)
	for _, sql := range []string{"begin", "insert into a values (1)"} { // what the build waits for
		_, err := writer.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e := b.unafraid(Options{Plan: "p", LockTimeout: brief, OnWait: func(Waiting) { cancel() }})
	require.ErrorIs(t, e.Up(ctx, 2, ""), context.Canceled)
	_, err := writer.Exec(t.Context(), "commit")
	require.NoError(t, err)
	require.NoError(t, b.engine("p").Withdraw(t.Context(), 2, ""))
	require.False(t, b.has(t, "a_n"))
	b.exec(t, "insert into a values (1)")
	b.requireNothingBegun(t)
}

func TestWhatCannotBeKnownIsNotWithdrawn(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"a procedure":      "call purge()",
		"a dropped index":  "drop index concurrently gone",
		"a detached child": "alter table a detach partition b concurrently",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := interrupted(t, noTransactionHeader+"\n"+sql)
			err := b.engine("p").Withdraw(t.Context(), 2, "")
			require.ErrorIs(t, err, ErrInspect)
			require.ErrorContains(t, err, "contraflow.ddl_intent")
			require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))
		})
	}
	t.Run("another text", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, uniqueIndex)
		b.exec(t, "create unique index a_n on a (n)")
		b.exec(t, "update contraflow.ddl_intent set statement_sha = 'other'")
		require.ErrorIs(t, b.engine("p").Withdraw(t.Context(), 2, ""), ErrInspect)
		require.True(t, b.has(t, "a_n"))
	})
	t.Run("a stranger has applied it", func(t *testing.T) {
		t.Parallel()
		b := interrupted(t, uniqueIndex)
		b.exec(t, "create unique index a_n on a (n)")
		b.exec(t, "update schema_migrations set version = 2")
		var stranger *StrangerError
		require.ErrorAs(t, b.engine("p").Withdraw(t.Context(), 2, ""), &stranger)
		require.True(t, b.has(t, "a_n"))
	})
}

func TestWithdrawingWhatHasDoneNothing(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{"vacuum a", "drop index concurrently a_n"} {
		b := interrupted(t, noTransactionHeader+"\n"+sql)
		b.exec(t, "create index a_n on a (n)")
		require.NoError(t, b.engine("p").Withdraw(t.Context(), 2, ""))
		require.True(t, b.has(t, "a_n"))
		b.requireNothingBegun(t)
	}
}

func TestAStrangersIndexIsNotWithdrawn(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*testing.T, bundle){
		"refused":  func(*testing.T, bundle) {},
		"in doubt": func(t *testing.T, b bundle) { b.invalidate(t, "a_n") },
		"on another": func(t *testing.T, b bundle) {
			b.exec(t, "drop index a_n; create table c (n int); create index a_n on c (n)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int)", "2_b.up.sql": buildIndex})
			require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
			b.exec(t, "create index a_n on a (n)")
			spoil(t, b)
			var failed *StatementError
			require.ErrorAs(t, b.engine("p").Up(t.Context(), 2, ""), &failed)
			require.Equal(t, "42P07", failed.SQLState)
			b.requireNothingBegun(t)
			require.NoError(t, b.engine("p").Withdraw(t.Context(), 2, ""))
			require.True(t, b.has(t, "a_n"))
		})
	}
}

func TestRestWaitsForAnAttemptThatStillRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": "create table a (n int); select pg_advisory_xact_lock(1);"})
	b.exec(t, "select pg_advisory_lock(1)") // what the attempt waits for
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waits := make(chan Waiting, 100)
	result, rested := make(chan error, 1), make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: patience, OnWait: func(Waiting) { cancel() }}).Up(t.Context(), 1, "")
	}()
	<-ctx.Done()
	go func() {
		rested <- New(b.pool, b.files, Options{Plan: "p", OnWait: func(w Waiting) { waits <- w }}).Rest(t.Context())
	}()
	require.Equal(t, "the migration lock", (<-waits).Lock)
	require.Empty(t, rested)
	b.exec(t, "select pg_advisory_unlock(1)")
	require.NoError(t, <-result)
	require.NoError(t, <-rested)
	b.requireState(t, at(1))
}

func TestNothingIsOursWhereContraflowHasNeverBeen(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	b.exec(t, "drop schema contraflow cascade")
	applied, err := b.engine("p").Applied(t.Context())
	require.NoError(t, err)
	require.Empty(t, applied)
	begun, err := b.engine("p").Begun(t.Context())
	require.NoError(t, err)
	require.Empty(t, begun)
}
