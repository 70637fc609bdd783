package postgres

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

func TestClusterAnswersAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c, err := Start(t.Context(), Options{Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	require.NoError(t, c.CreateRole(t.Context(), "app"))
	require.NoError(t, c.CreateDatabase(t.Context(), "shop", "app"))

	conn, err := pgx.Connect(t.Context(), c.DSN("app", "shop"))
	require.NoError(t, err)
	var super bool
	require.NoError(t, conn.QueryRow(t.Context(), "select rolsuper from pg_roles where rolname = current_user").Scan(&super))
	require.False(t, super)

	c.Stop()
	require.Error(t, conn.Ping(t.Context()))
	_, err = os.Stat(c.root)
	require.ErrorIs(t, err, os.ErrNotExist)
	c.Stop() // twice is allowed
}

func TestBinariesRefusesAFolderWithoutServer(t *testing.T) {
	t.Setenv("PG_BINDIR", t.TempDir())
	_, err := Binaries()
	require.ErrorContains(t, err, "PG_BINDIR")
}
