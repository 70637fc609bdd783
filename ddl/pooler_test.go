package ddl

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgbouncer"
	"github.com/contraflow/contraflow/internal/pg"
)

// The role has what we ask for, so that no setting is missed, and the pool isn't one that has checked its connections.
func TestBehindAPoolerNoVersionIsChanged(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgbouncer.Mode{pgbouncer.Transaction, pgbouncer.Session} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			b := setup(t, three)
			b.exec(t, "alter role current_user in database "+b.db.Name+" set lock_timeout = '500ms'")
			b.exec(t, "alter role current_user in database "+b.db.Name+" set idle_in_transaction_session_timeout = '"+idleInTransaction.Round(time.Second).String()+"'")
			b.exec(t, "alter role current_user in database "+b.db.Name+" set idle_session_timeout = '"+idleOutside.Round(time.Second).String()+"'")
			watched := map[string]string{}
			pg.Watch(watched)
			b.exec(t, "alter role current_user in database "+b.db.Name+" set client_connection_check_interval = "+watched["client_connection_check_interval"])
			pooled, err := pgxpool.New(t.Context(), pgbouncer.Start(t, b.db.DSN, pgbouncer.Options{Mode: mode,
				Ignore: append([]string{"lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"}, slices.Sorted(maps.Keys(watched))...)}))
			require.NoError(t, err)
			t.Cleanup(pooled.Close)

			err = New(pooled, b.files, Options{Plan: "p"}).Up(t.Context(), 1, "")
			require.ErrorIs(t, err, pg.ErrSettings)
			require.ErrorContains(t, err, "another backend answers")
			require.False(t, b.has(t, "a"))
			b.requireState(t, State{})
			_, err = NewDriver(t.Context(), pooled, DriverOptions{})
			require.ErrorIs(t, err, pg.ErrSettings)
		})
	}
}
