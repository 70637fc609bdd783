package rehearse

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	if scratchServer != nil {
		scratchServer.Stop()
	}
	os.Exit(code)
}

var (
	scratchOnce   sync.Once
	scratchServer *postgres.Cluster
	errScratch    error
)

// somebodysServer is one that isn't the targets' own.
func somebodysServer(t *testing.T) *postgres.Cluster {
	t.Helper()
	scratchOnce.Do(func() {
		scratchServer, errScratch = postgres.Start(context.Background(), postgres.Options{Settings: map[string]string{"fsync": "off", "max_connections": "200"}})
	})
	require.NoError(t, errScratch)
	return scratchServer
}

// scratchFor is its connection string as the role that may create databases there.
func scratchFor(t *testing.T) string {
	t.Helper()
	return somebodysServer(t).DSN(postgres.Superuser, "postgres")
}
