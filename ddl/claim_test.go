package ddl

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/pg"
)

// claimed gives plan p to run-1.
func claimed(t *testing.T, files map[string]string) (bundle, *Engine) {
	t.Helper()
	b := setup(t, files)
	b.exec(t, "insert into contraflow.migration (plan, migration, first_run, plan_hash) values ('p', 'm', 'run-1', 'h')")
	return b, New(b.pool, b.files, Options{Plan: "p", Claim: "run-1", LockTimeout: brief})
}

func TestARunThatLostItsPlanChangesNothing(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"taken over":   "update contraflow.migration set first_run = 'run-2'",
		"ended":        "update contraflow.migration set ended_at = now()",
		"rolling back": "update contraflow.migration set undoing = true",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, e := claimed(t, three)
			require.NoError(t, e.Up(t.Context(), 1, ""))
			b.exec(t, sql)
			require.ErrorIs(t, e.Up(t.Context(), 2, ""), ErrSuperseded)
			b.requireState(t, at(1))
			if name == "rolling back" {
				require.NoError(t, e.Down(t.Context(), 1, ""))
				b.requireState(t, State{})
				return
			}
			require.ErrorIs(t, e.Down(t.Context(), 1, ""), ErrSuperseded)
			b.requireState(t, at(1))
		})
	}
	t.Run("outside a transaction", func(t *testing.T) {
		t.Parallel()
		b, e := claimed(t, map[string]string{"1_a.up.sql": "create table a (n int)", "2_b.up.sql": buildIndex})
		require.NoError(t, e.Up(t.Context(), 1, ""))
		b.exec(t, "update contraflow.migration set first_run = 'run-2'")
		require.ErrorIs(t, e.Up(t.Context(), 2, ""), ErrSuperseded)
		require.False(t, b.has(t, "a_n"))
		require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))
	})
}

// late has run the file of version 1 and not written the version yet.
func late(t *testing.T, b bundle) *driver {
	t.Helper()
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	d := &driver{ctx: t.Context(), session: s, plan: "p", claim: "run-1", file: b.files.find(1, Up)}
	t.Cleanup(func() { s.close(context.Background()) })
	require.NoError(t, d.SetVersion(1, true))
	require.NoError(t, d.Run(strings.NewReader(three["001_a.up.sql"])))
	return d
}

func TestAPlanThatPassesOnDuringTheFileIsNotChangedAnyMore(t *testing.T) {
	t.Parallel()
	b, _ := claimed(t, three)
	d := late(t, b)
	b.exec(t, "update contraflow.migration set first_run = 'run-2'")
	require.ErrorIs(t, d.SetVersion(1, false), ErrSuperseded)
	b.requireState(t, State{})
	require.False(t, b.has(t, "a"))
}

func TestAProcessThatStandsStillLosesItsLocks(t *testing.T) {
	t.Parallel()
	b, _ := claimed(t, three)
	d := late(t, b)
	require.Equal(t, idleInTransaction.String(), ofSession(t, d, "show idle_in_transaction_session_timeout"))
	_, err := d.session.conn.Exec(t.Context(), "set idle_in_transaction_session_timeout = '100ms'") // the same, sooner
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return !one[bool](t, b, "select exists (select from pg_stat_activity where pid = $1)", int32(d.session.pid()))
	}, patience, look, "nobody asks it anything")
	require.Error(t, d.SetVersion(1, false))
	b.requireState(t, State{})
	require.False(t, b.has(t, "a"))

	require.True(t, gaveWay(errors.Join(&pgconn.PgError{Code: stateIdleTooLong})), "another attempt follows")
}

func ofSession(t *testing.T, d *driver, sql string) (value string) {
	t.Helper()
	require.NoError(t, d.session.conn.QueryRow(t.Context(), sql).Scan(&value))
	return value
}

// A role's statement_timeout would end the file again and again.
func TestARolesStatementTimeoutEndsNoFile(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (); select pg_sleep(0.3);",
		"2_b.up.sql": "set local statement_timeout = '50ms'; create table b (); select pg_sleep(3600);",
	})
	b.exec(t, "alter role current_user in database "+b.db.Name+" set statement_timeout = '100ms'")
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	var failed *StatementError
	require.ErrorAs(t, b.engine("p").Up(t.Context(), 2, ""), &failed, "a file's own holds")
	require.Equal(t, "57014", failed.SQLState)
	state, err := readState(t.Context(), b.conn, "public") // on a connection from before the role's setting
	require.NoError(t, err)
	require.Equal(t, at(1), state)
}

// As behind a pooler: the connection is made, without what we asked for.
func TestWithoutLockTimeoutNothingIsChanged(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	config := b.pool.Config()
	config.AfterConnect = nil
	config.ConnConfig.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		return conn.Exec(ctx, "set lock_timeout = 0").Close()
	}
	pooled, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pooled.Close)
	e := New(pooled, b.files, Options{Plan: "p"})
	err = e.Up(t.Context(), 1, "")
	require.ErrorIs(t, err, pg.ErrSettings)
	require.ErrorContains(t, err, "lost: lock_timeout")
	b.requireState(t, State{})
}
