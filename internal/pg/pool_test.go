package pg_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func open(t *testing.T, dsn string, s pg.Settings) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), dsn, s)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func TestSettingsHoldOnEveryConnection(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t).DSN, pg.Settings{ApplicationName: "me", LockTimeout: 300 * time.Millisecond, StatementTimeout: 4 * time.Second, MaxConns: 3})
	for range 3 { // held until the end: three connections
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
		var name, lock, statement, check string
		require.NoError(t, conn.QueryRow(t.Context(), `select current_setting('application_name'), current_setting('lock_timeout'),
			current_setting('statement_timeout'), current_setting('client_connection_check_interval')`).Scan(&name, &lock, &statement, &check))
		require.Equal(t, []string{"me", "300ms", "4s", "2s"}, []string{name, lock, statement, check})
	}
}

func TestARoleNamedLikeOurSchemaStaysInThePublicOne(t *testing.T) {
	t.Parallel()
	cluster, db := pgtest.Cluster(t), pgtest.New(t)
	if err := cluster.CreateRole(t.Context(), pg.Schema); err != nil { // it outlives the test
		require.ErrorContains(t, err, "already exists")
	}
	super := open(t, db.SuperDSN, pg.Settings{})
	for _, sql := range []string{"alter database " + db.Name + " owner to contraflow", "grant all on schema public to contraflow"} {
		_, err := super.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	pool := open(t, cluster.DSN(pg.Schema, db.Name), pg.Settings{})
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	var schema string
	require.NoError(t, pool.QueryRow(t.Context(), "select current_schema()").Scan(&schema))
	require.Equal(t, "public", schema)
}

func TestAMalformedDSNIsNotRepeated(t *testing.T) {
	t.Parallel()
	_, err := pg.Open(t.Context(), "postgres://me:S3CRET@h:notaport/db", pg.Settings{})
	require.Error(t, err)
	require.False(t, strings.Contains(err.Error(), "S3CRET"))
}
