package pg_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestRowsThatAPolicyHidesAreAnErrorAndNotAbsent(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, `create table t (n int); insert into t values (1), (2); alter table t enable row level security;
		alter table t force row level security; create policy half on t using (n = 1)`)
	pool := open(t, db.DSN, pg.Settings{})
	var count int
	err := pool.QueryRow(t.Context(), "select count(*) from t").Scan(&count)
	var refused *pgconn.PgError
	require.ErrorAs(t, err, &refused)
	require.True(t, pg.HidesRows(refused))
	require.NoError(t, pool.QueryRow(t.Context(), "select 1").Scan(&count), "the connection goes on")

	db.Exec(t, "alter table t no force row level security")
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from t").Scan(&count))
	require.Equal(t, 2, count, "the owner is exempt")
}

// What a pooler does that drops parameters, after the fact.
func TestAConnectionWhoseSettingsWereDroppedIsNotUsed(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	pool := open(t, db.DSN, pg.Settings{LockTimeout: time.Second})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	require.NoError(t, pg.CheckSettings(t.Context(), conn.Conn()))
	_, err = conn.Exec(t.Context(), "set lock_timeout = 0; set row_security = on")
	require.NoError(t, err)
	err = pg.CheckSettings(t.Context(), conn.Conn())
	require.ErrorIs(t, err, pg.ErrSettings)
	require.ErrorContains(t, err, "lost: lock_timeout, row_security")
	require.ErrorContains(t, err, "connect to Postgres itself")
}

func TestAPoolChecksEachConnection(t *testing.T) {
	t.Parallel()
	config := open(t, pgtest.New(t).DSN, pg.Settings{}).Config()
	connect := config.AfterConnect
	require.NotNil(t, connect)
	pool := open(t, pgtest.New(t).DSN, pg.Settings{})
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	_, err = conn.Exec(t.Context(), "set client_connection_check_interval = 0")
	require.NoError(t, err)
	require.ErrorIs(t, connect(t.Context(), conn.Conn()), pg.ErrSettings)
}

func TestWhatPostgresItselfRefusesIsNoPooler(t *testing.T) {
	t.Parallel()
	dsn := pgtest.New(t).DSN + "&lock_timeout=1min" // in a unit of its own: not compared
	require.NoError(t, open(t, dsn, pg.Settings{}).Ping(t.Context()))
	_, err := pgconn.Connect(t.Context(), dsn+"&nobody_knows_this=1")
	require.Error(t, err)
	require.NotErrorIs(t, pg.Refused(err), pg.ErrSettings, "Postgres's own refusal has another code")
}
