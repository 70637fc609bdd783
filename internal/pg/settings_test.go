package pg_test

import (
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
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

// pgbouncer answers every startup as PgBouncer does when it doesn't know a parameter.
func pgbouncer(t *testing.T) (dsn string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			backend := pgproto3.NewBackend(conn, conn)
			if _, err := backend.ReceiveStartupMessage(); err == nil {
				backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08P01", Message: "unsupported startup parameter: row_security"})
				_ = backend.Flush()
			}
			_ = conn.Close()
		}
	}()
	return "postgres://me@" + listener.Addr().String() + "/db?sslmode=disable"
}

func TestAPoolerThatRefusesOurParametersIsNamed(t *testing.T) {
	t.Parallel()
	err := pg.EnsureSchema(t.Context(), open(t, pgbouncer(t), pg.Settings{}))
	require.ErrorIs(t, err, pg.ErrSettings)
	require.ErrorContains(t, err, "refused when the connection was made")

	dsn := pgtest.New(t).DSN + "&lock_timeout=1min" // in a unit of its own: not compared
	require.NoError(t, open(t, dsn, pg.Settings{}).Ping(t.Context()))
	_, err = pgconn.Connect(t.Context(), dsn+"&nobody_knows_this=1")
	require.Error(t, err)
	require.NotErrorIs(t, pg.Refused(err), pg.ErrSettings, "Postgres's own refusal has another code")
}
