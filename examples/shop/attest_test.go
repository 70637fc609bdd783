package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/app"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

const (
	patience = time.Minute
	look     = 5 * time.Millisecond
)

// serving starts `shop serve`, which has begun when it returns.
func serving(t *testing.T, env map[string]string, args ...string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, writer, env, append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
		_ = writer.CloseWithError(io.EOF)
		ended <- err
	}()
	_, err := bufio.NewReader(reader).ReadBytes('\n')
	require.NoError(t, err)
	return func() error { cancel(); return <-ended }
}

func TestEachInstanceAttestsItsFlagsUntilItStops(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	sql, err := os.ReadFile(filepath.Join("migrations", "000001_customers.up.sql"))
	require.NoError(t, err)
	db.Exec(t, string(sql))
	file := filepath.Join(t.TempDir(), "flags.json")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `{"flags": {%q: {"key": %q, "version": 7, "on": false,
		"variations": [false, true], "offVariation": 0, "fallthrough": {"variation": 1}, "salt": "s"}}}`, app.WriteNewFlag, app.WriteNewFlag), 0o600))
	env := map[string]string{"SHOP_DSN": db.DSN, "SHOP_FLAG_FILE": file}
	stop1 := serving(t, env, "--instance", "shop-1", "--attest-every", "100ms")
	stop2 := serving(t, env, "--instance", "shop-2", "--attest-every", "100ms")

	pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool)) // contraflow comes later than the shop
	requireAttested := func(key string, want ...string) {
		t.Helper()
		require.Eventually(t, func() bool {
			list, err := ledger.New(pool).Attestations(t.Context(), key, time.Hour, time.Time{}) // silence alone ends none here
			var all []string
			for _, a := range list {
				all = append(all, fmt.Sprintf("%s %d %s", a.Instance[:len("shop-1")], a.Version, a.Value))
			}
			return err == nil && slices.Equal(all, want)
		}, patience, look, "want %q", want)
	}
	requireAttested(app.WriteNewFlag, "shop-1 7 false", "shop-2 7 false")
	requireAttested(app.ReadNewFlag, "shop-1 0 ", "shop-2 0 ")
	require.NoError(t, stop1())
	requireAttested(app.WriteNewFlag, "shop-2 7 false")
	require.NoError(t, stop2())
	requireAttested(app.WriteNewFlag)
}
