package port

import (
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAServerMayComeAndGoOnAKeptPort(t *testing.T) {
	t.Parallel()
	port, release, err := Keep()
	require.NoError(t, err)
	t.Cleanup(release)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for range 3 {
		_, err := net.Dial("tcp", addr)
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		server, err := net.Listen("tcp", addr)
		require.NoError(t, err)
		conn, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		_, err = net.Listen("tcp", addr)
		require.ErrorIs(t, err, syscall.EADDRINUSE, "one at a time")
		require.NoError(t, conn.Close())
		require.NoError(t, server.Close())
	}
}

func TestNobodyElseIsGivenAKeptPort(t *testing.T) {
	t.Parallel()
	const many = 50
	kept := map[int]bool{}
	for range many {
		port, release, err := Keep()
		require.NoError(t, err)
		t.Cleanup(release)
		require.False(t, kept[port], "kept twice")
		kept[port] = true
	}
	for range 100 * many { // without Keep some of them would be
		other, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.False(t, kept[other.Addr().(*net.TCPAddr).Port])
		require.NoError(t, other.Close())
	}
}
