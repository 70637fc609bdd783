package service

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/port"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
)

// asWorker set: this process is a child that is the worker itself.
const asWorker = "CONTRAFLOW_TEST_AS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(Main(Options{}))
	}
	code := m.Run()
	temporaltest.Stop()
	pgtest.Stop()
	os.Exit(code)
}

const (
	patience = 120 * time.Second
	look     = 20 * time.Millisecond
	secret   = "S3CRET"
)

// environment of a worker: nothing of the test's own.
type environment map[string]string

func (e environment) Environ() []string {
	var pairs []string
	for name, value := range e {
		pairs = append(pairs, name+"="+value)
	}
	return pairs
}

func (e environment) LookupEnv(name string) (string, bool) {
	value, ok := e[name]
	return value, ok
}

// configure writes a configuration beside the example's plan and returns its path.
func configure(t *testing.T, more string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(folder, "plans", "shop"), os.DirFS("../../examples/shop/migrations")))
	path := filepath.Join(folder, "worker.yaml")
	require.NoError(t, os.WriteFile(path, []byte("plans: plans\nlisten: 127.0.0.1:0\ndatabases: {shop: {dsn: \"env:SHOP_DSN\"}}\n"+more), 0o600))
	return path
}

// transcript is safe to be read while it is written.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// running is a worker in this process.
type running struct {
	url    string
	stop   context.CancelFunc
	ended  <-chan int
	stderr *transcript
}

func begin(t *testing.T, path string, env environment) running {
	t.Helper()
	return beginWith(t, Options{}, path, env)
}

func beginWith(t *testing.T, o Options, path string, env environment) running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	stdout, says := io.Pipe()
	ended, stderr := make(chan int, 1), &transcript{}
	go func() {
		ended <- run(ctx, o, []string{"worker", "-config", path}, says, stderr, env)
		_ = says.Close()
	}()
	url := listening(t, stdout)
	t.Cleanup(stop)
	return running{url, stop, ended, stderr}
}

// listening reads the worker's line about itself.
func listening(t *testing.T, stdout io.Reader) (url string) {
	t.Helper()
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err)
	var said struct {
		Listening string `json:"listening"`
	}
	require.NoError(t, json.Unmarshal(line, &said), "%s", line)
	require.NotEmpty(t, said.Listening)
	return said.Listening
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(raw)
}

func (r running) requireWorking(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { status, _ := get(t, r.url+"/healthz"); return status == http.StatusOK }, patience, look, "%s", r.stderr)
}

func (r running) requireEnd(t *testing.T, code int) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case got := <-r.ended:
		require.Equal(t, code, got, "%s", r.stderr)
	case <-timer.C:
		require.FailNow(t, "the worker did not end", "%s", r.stderr)
	}
	require.NotContains(t, r.stderr.String(), secret)
}

// freeAddress is one at which nobody listens but who is told of it.
func freeAddress(t *testing.T) (address string, kept int) {
	t.Helper()
	kept, release, err := port.Keep()
	require.NoError(t, err)
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", kept), kept
}

func contextWithin(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
