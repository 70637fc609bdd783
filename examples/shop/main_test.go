package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/examples/shop/load"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// run the command line to its end.
func run(ctx context.Context, out io.Writer, env map[string]string, args ...string) error {
	c := newCommand(func(name string) string { return env[name] }, out, slog.New(slog.DiscardHandler))
	c.SetArgs(args)
	return c.ExecuteContext(ctx)
}

func TestSeedServeLoad(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	sql, err := os.ReadFile(filepath.Join("migrations", "000001_customers.up.sql"))
	require.NoError(t, err)
	db.Exec(t, string(sql))
	flagFile := filepath.Join(t.TempDir(), "flags.json")
	require.NoError(t, os.WriteFile(flagFile, []byte(`{"flags": {}}`), 0o600))
	dsnFile := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(dsnFile, []byte(db.DSN+"\n"), 0o600))

	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, nil, "seed", "--rows", "500", "--dsn-file", dsnFile))
	require.JSONEq(t, `{"seeded": 500}`, out.String())

	ctx, stop := context.WithCancel(t.Context())
	reader, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, writer, map[string]string{"SHOP_DSN": db.DSN, "SHOP_FLAG_FILE": flagFile}, "serve", "--listen", "127.0.0.1:0")
		_ = writer.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(reader).ReadBytes('\n')
	require.NoError(t, err)
	var started struct{ Listening string }
	require.NoError(t, json.Unmarshal(line, &started))

	// A load may be over before a busy shop has answered; then it is followed by another.
	once := func() (stats load.Stats, err error) {
		out.Reset()
		err = run(t.Context(), &out, nil, "load", "--url", started.Listening, "--seeded", "500", "--for", "300ms")
		for lines := json.NewDecoder(&out); lines.More() && lines.Decode(&stats) == nil; {
		}
		return stats, err
	}
	require.Eventually(t, func() bool {
		var stats load.Stats
		stats, err = once()
		return err != nil || stats.Reads > 0
	}, patience, look)
	require.NoError(t, err)
	db.Exec(t, "update customers set address = 'wrong address'")
	require.Eventually(t, func() bool { _, err = once(); return err != nil }, patience, look)
	require.Regexp(t, `^0 requests failed, [1-9]\d* reads were wrong$`, err.Error())

	stop()
	require.NoError(t, <-ended)
	_, err = http.Get(started.Listening + "/healthz")
	require.Error(t, err)
}

func TestTheStartSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	require.ErrorContains(t, run(t.Context(), io.Discard, nil, "serve"), "set SHOP_DSN or --dsn-file")
	err := run(t.Context(), io.Discard, map[string]string{"SHOP_DSN": "postgres://u:hunter2@h:port/x"}, "seed")
	require.ErrorContains(t, err, "withheld")
	require.NotContains(t, err.Error(), "hunter2")
	err = run(t.Context(), io.Discard, map[string]string{"SHOP_DSN": "postgres://u:hunter2@127.0.0.1:1/x"}, "seed")
	require.EqualError(t, err, "seed customers: the database cannot be reached")
	err = run(t.Context(), io.Discard, map[string]string{"SHOP_DSN": pgtest.New(t).DSN}, "serve")
	require.ErrorContains(t, err, "either an SDK key or a flag file")
}
