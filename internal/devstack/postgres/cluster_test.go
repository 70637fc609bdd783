package postgres

import (
	"os"
	"path/filepath"
	"testing"
	"time"

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

func TestTheServerInheritsNoSecretOfOurs(t *testing.T) {
	t.Setenv("SHOP_DSN", "S3CRET-ENV")
	c, err := Start(t.Context(), Options{Superuser: "keeper", Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	conn, err := pgx.Connect(t.Context(), c.DSN("keeper", "postgres"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "create temp table environment (line text); copy environment from program 'env'")
	require.NoError(t, err)
	var all string
	require.NoError(t, conn.QueryRow(t.Context(), "select string_agg(line, ' ') from environment").Scan(&all))
	require.Contains(t, all, "PATH=")
	require.NotContains(t, all, "S3CRET-ENV")
	require.NoError(t, conn.Close(t.Context()))
}

func TestFoldersOfTheDeadAreSweptAndOthersAreNot(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	long := time.Now().Add(-time.Hour)
	folder := func(name string, locked bool, since time.Time) string {
		root := filepath.Join(temporary, folderPrefix+name)
		require.NoError(t, os.MkdirAll(filepath.Join(root, "cluster"), 0o700))
		file, err := claim(root)
		require.NoError(t, err)
		if locked {
			t.Cleanup(func() { _ = file.Close() })
		} else {
			require.NoError(t, file.Close())
		}
		require.NoError(t, os.Chtimes(filepath.Join(root, lockName), since, since))
		return root
	}
	dead, living, young := folder("dead", false, long), folder("living", true, long), folder("young", false, time.Now())
	foreign := filepath.Join(temporary, folderPrefix+"foreign")
	require.NoError(t, os.Mkdir(foreign, 0o700))
	sweep()
	require.NoDirExists(t, dead)
	for _, left := range []string{living, young, foreign} {
		require.DirExists(t, left)
	}
}

func TestBinariesRefusesAFolderWithoutServer(t *testing.T) {
	t.Setenv("PG_BINDIR", t.TempDir())
	_, err := Binaries()
	require.ErrorContains(t, err, "PG_BINDIR")
}

func TestACrashLosesNothingCommittedAndRestartsInPlace(t *testing.T) {
	t.Parallel()
	c, err := Start(t.Context(), Options{})
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	conn, err := pgx.Connect(t.Context(), c.DSN(Superuser, "postgres"))
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "create table kept as select 7 as n")
	require.NoError(t, err)

	port, pid := c.Port, c.Pid()
	c.Crash()
	require.Error(t, conn.Ping(t.Context()))
	require.NoError(t, c.Restart(t.Context()))
	require.NoError(t, c.Restart(t.Context()), "a running server is left alone")
	require.Equal(t, port, c.Port)
	require.NotEqual(t, pid, c.Pid())
	require.Contains(t, c.Log(), "was not properly shut down")
	conn, err = pgx.Connect(t.Context(), c.DSN(Superuser, "postgres"))
	require.NoError(t, err)
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), "select n from kept").Scan(&n))
	require.Equal(t, 7, n)
	require.NoError(t, conn.Close(t.Context()))
}
