package pg_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestADatabaseIsToldFromOthers(t *testing.T) {
	t.Parallel()
	identify := func(dsn string) pg.Identity {
		conn, err := pgx.Connect(t.Context(), dsn)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(t.Context())) }()
		id, err := pg.ReadIdentity(t.Context(), conn)
		require.NoError(t, err)
		require.NoError(t, conn.Ping(t.Context()), "the connection is as good as before")
		return id
	}
	db, other := pgtest.New(t), pgtest.New(t)
	id := identify(db.DSN)
	require.NotZero(t, id.OID)
	require.Regexp(t, `^\d+$`, id.Cluster, "no superuser is needed")
	require.Equal(t, id, identify(db.SuperDSN))
	second := identify(other.DSN)
	require.Equal(t, id.Cluster, second.Cluster)
	require.True(t, id.Differs(second))

	super, err := pgx.Connect(t.Context(), db.SuperDSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, super.Close(t.Context())) }()
	_, err = super.Exec(t.Context(), "revoke execute on function pg_control_system() from public")
	require.NoError(t, err)
	less := identify(db.DSN)
	require.Equal(t, pg.Identity{OID: id.OID}, less)
	require.False(t, less.Differs(id))
	require.True(t, less.Differs(second))
	require.True(t, id.Differs(pg.Identity{Cluster: "1", OID: id.OID}))
	require.False(t, id.Differs(pg.Identity{}))
}
