package backfill

import (
	"errors"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"runtime"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestDefaultLanesLeaveHalfTheCoresAndAreWorthHaving(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for _, c := range []struct {
		cores int
		bytes int64
		want  int
	}{
		{0, 0, 1}, {0, 127 * mb, 1}, {0, 128 * mb, 2}, {0, math.MaxInt64, 2},
		{1, math.MaxInt64, 1}, {2, math.MaxInt64, 1}, {3, math.MaxInt64, 1}, {4, math.MaxInt64, 2}, {7, math.MaxInt64, 3},
		{16, 0, 1}, {16, 64*mb - 1, 1}, {16, 64 * mb, 1}, {16, 320 * mb, 5}, {16, math.MaxInt64, 8}, {256, math.MaxInt64, 8},
	} {
		require.Equal(t, c.want, defaultLanes(c.cores, c.bytes), "%d cores, %d bytes", c.cores, c.bytes)
	}
}

func TestCoresAsLinuxWritesThem(t *testing.T) {
	t.Parallel()
	for list, want := range map[string]int{"0\n": 1, "0-3\n": 4, "0,2-3,8-15\n": 11, "": 0, "-": 0, "3-1": 0, "all": 0} {
		require.Equal(t, want, processors(list), list)
	}
	for quota, want := range map[string]int{"": 8, "max 100000\n": 8, "150000 100000\n": 1, "400000 100000\n": 4, "50000 100000": 1,
		"1600000 100000": 8, "-1 100000": 8, "100000": 8, "100000 0": 8} {
		require.Equal(t, want, limited(8, quota), quota)
	}
	require.Zero(t, limited(0, "400000 100000"), "what is unknown stays unknown")
}

func TestCoresAreKnownOnOneHostOrToWhoeverMayReadTheServersFiles(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	require.NoError(t, err)
	quota, err := os.ReadFile("/sys/fs/cgroup/cpu.max")
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	for name, c := range map[string]struct {
		dsn  string
		want int
	}{
		"one host":                      {db.DSN, runtime.NumCPU()},
		"elsewhere, an ordinary role":   {elsewhere(t, db.DSN), 0},
		"elsewhere, a role with rights": {elsewhere(t, db.SuperDSN), limited(processors(string(online)), string(quota))},
	} {
		pool, err := pgxpool.New(t.Context(), c.dsn)
		require.NoError(t, err)
		require.Equal(t, c.want, New(pool).cores(t.Context()), name)
		pool.Close()
		require.Zero(t, New(pool).cores(t.Context()), "a closed pool knows nothing")
	}
}

// elsewhere is a connection string through a tunnel, as to a server on another host.
func elsewhere(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	require.NoError(t, err)
	server := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go tunnel(client, server)
		}
	}()
	u.Host = listener.Addr().String()
	return u.String()
}

func tunnel(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}
