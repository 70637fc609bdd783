package pg_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgbouncer"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

// ours are the parameters that pg.Open sends and PgBouncer doesn't know.
var ours = []string{"lock_timeout", "statement_timeout", "client_connection_check_interval", "row_security"}

func TestBehindARealPgBouncerNothingIsChanged(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgbouncer.Mode{pgbouncer.Transaction, pgbouncer.Session} {
		for name, c := range map[string]struct {
			ignore []string
			role   bool // its own settings are what we ask for, so that none is missed
			reason string
		}{
			"it refuses our parameters":                  {nil, false, "refused when the connection was made"},
			"it swallows our parameters":                 {ours, false, "lost: client_connection_check_interval, lock_timeout"},
			"it swallows them and the role has the same": {ours, true, "another backend answers"},
		} {
			t.Run(string(mode)+" mode, "+name, func(t *testing.T) {
				t.Parallel()
				db := pgtest.New(t)
				if c.role {
					for _, setting := range []string{"lock_timeout = '1s'", "client_connection_check_interval = '2s'", "row_security = off"} {
						db.Exec(t, "alter role current_user in database "+db.Name+" set "+setting)
					}
				}
				pooled := pgbouncer.Start(t, db.DSN, pgbouncer.Options{Mode: mode, Ignore: c.ignore})
				err := pg.EnsureSchema(t.Context(), open(t, pooled, pg.Settings{LockTimeout: time.Second}))
				require.ErrorIs(t, err, pg.ErrSettings)
				require.ErrorContains(t, err, c.reason)
				require.ErrorContains(t, err, "connect to Postgres itself")
				var there bool
				require.NoError(t, db.Connect(t).QueryRow(t.Context(), "select to_regnamespace('contraflow') is not null").Scan(&there))
				require.False(t, there)
			})
		}
	}
}

// A pooler that nobody can tell from Postgres would make the tests above pass for the wrong reason.
func TestPgBouncerItselfServes(t *testing.T) {
	t.Parallel()
	conn, err := pgx.Connect(t.Context(), pgbouncer.Start(t, pgtest.New(t).DSN, pgbouncer.Options{Mode: pgbouncer.Transaction}))
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var backend uint32
	require.NoError(t, conn.QueryRow(t.Context(), "select pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&backend))
	require.NotEqual(t, conn.PgConn().PID(), backend)
}

// What passes Postgres's own protocol on is no pooler.
func TestAProxyThatKeepsTheSessionIsNoPooler(t *testing.T) {
	t.Parallel()
	proxy := pgproxy.Start(t, pgtest.New(t).DSN)
	require.NoError(t, pg.EnsureSchema(t.Context(), open(t, proxy.DSN(), pg.Settings{LockTimeout: time.Second})))
}
