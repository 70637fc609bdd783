package service

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
)

const slackAndFlags = `
flags: {launchdarkly: {token: "env:TOKEN", sdkKey: "env:TOKEN", apiURL: "http://127.0.0.1:1"}}
slack: {channel: C1, token: "env:TOKEN", signingSecret: "env:TOKEN", apiURL: "http://127.0.0.1:1/api", people: {U1: alice}}
`

func (e environment) at(address string) environment {
	e["TEMPORAL_ADDRESS"], e["TEMPORAL_CONFIG_FILE"] = address, os.DevNull
	e["SHOP_DSN"], e["TOKEN"] = "postgres://"+secret+":"+secret+"@127.0.0.1:1/"+secret, secret
	return e
}

func TestAWorkerWaitsForTemporal(t *testing.T) {
	t.Parallel()
	address, port := freeAddress(t)
	w := begin(t, configure(t, slackAndFlags), environment{}.at(address))
	status, body := get(t, w.url+"/healthz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, body, "waiting for Temporal")
	click, err := http.Post(w.url+"/slack/interactions", "application/x-www-form-urlencoded", strings.NewReader("payload={}"))
	require.NoError(t, err)
	require.NoError(t, click.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, click.StatusCode, "the person sees that the click was not taken")
	require.Eventually(t, func() bool { return strings.Contains(w.stderr.String(), "waiting for Temporal") }, patience, look)
	require.Contains(t, w.stderr.String(), address)

	server, err := temporalserver.Start(t.Context(), temporalserver.Options{Port: port})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	w.requireWorking(t)
	status, metrics := get(t, w.url+"/metrics")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, metrics, "temporal_", "the SDK's")
	require.Contains(t, metrics, "go_goroutines")
	require.Contains(t, metrics, "process_open_fds")
	click, err = http.Post(w.url+"/slack/interactions", "application/x-www-form-urlencoded", strings.NewReader("payload={}"))
	require.NoError(t, err)
	require.NoError(t, click.Body.Close())
	require.Equal(t, http.StatusUnauthorized, click.StatusCode, "now the gateway answers, and this has no signature")
	w.stop()
	w.requireEnd(t, 0)
}

func TestAWorkerThatIsStoppedWhileItWaitsHasNotFailed(t *testing.T) {
	t.Parallel()
	address, _ := freeAddress(t)
	w := begin(t, configure(t, ""), environment{}.at(address))
	w.stop()
	w.requireEnd(t, 0)
}

func TestTwoWorkersInOneProcess(t *testing.T) {
	t.Parallel()
	address := temporaltest.Address(t)
	for range 2 { // one after the other, on the same registry as it were
		w := begin(t, configure(t, "taskQueue: "+temporaltest.TaskQueue(t)+"\n"), environment{}.at(address))
		w.requireWorking(t)
		status, _ := get(t, w.url+"/metrics")
		require.Equal(t, http.StatusOK, status)
		w.stop()
		w.requireEnd(t, 0)
	}
}

func TestSIGTERMEndsTheWorkerInOrder(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0], "-config", configure(t, "taskQueue: "+temporaltest.TaskQueue(t)+"\n"))
	child.Env = append(environment{}.at(temporaltest.Address(t)).Environ(), asWorker+"=1", "PATH="+os.Getenv("PATH"), "HOME="+t.TempDir())
	errors := &transcript{}
	child.Stderr = errors
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	w := running{url: listening(t, stdout), stderr: errors}
	w.requireWorking(t)
	require.NoError(t, child.Process.Signal(syscall.SIGTERM))
	require.NoError(t, child.Wait(), "exit code 0\n%s", errors)
	require.Contains(t, errors.String(), "stopping")
	require.NotContains(t, errors.String(), secret)
}

// refused runs a worker that cannot start.
func refused(t *testing.T, args []string, env environment) (code int, said string) {
	t.Helper()
	var stdout, stderr transcript
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	code = run(ctx, Options{}, append([]string{"worker"}, args...), &stdout, &stderr, env)
	require.Empty(t, stdout.String())
	require.NotContains(t, stderr.String(), secret)
	return code, stderr.String()
}

func TestABadConfigurationIsToldAndEndsWith2(t *testing.T) {
	t.Parallel()
	there, _ := freeAddress(t)
	broken := func(document string) string {
		path := filepath.Join(t.TempDir(), "worker.yaml")
		require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
		return path
	}
	malformed := environment{}.at(there)
	malformed["SHOP_DSN"] = "postgres://me:" + secret + "@h:notaport/db"
	settings := environment{}.at(there)
	settings["TEMPORAL_CONFIG_FILE"] = broken("[profile")
	for title, c := range map[string]struct {
		args []string
		env  environment
		want []string
	}{
		"no such file":         {[]string{"-config", "/does/not/exist.yaml"}, environment{}, []string{"/does/not/exist.yaml"}},
		"mistakes in the file": {[]string{"-config", broken("planz: x\ndatabases: {shop: {dsn: \"postgres://" + secret + "\"}}\n")}, environment{}, []string{"planz", "plans: is missing", "databases.shop.dsn: must be env:NAME"}},
		"no such plan root":    {[]string{"-config", broken("plans: nowhere\nlisten: 127.0.0.1:0\ndatabases: {shop: {dsn: \"env:SHOP_DSN\"}}\n")}, environment{}.at(there), []string{"plans: ", "nowhere"}},
		"a malformed DSN":      {[]string{"-config", configure(t, "")}, malformed, []string{"databases.shop.dsn: malformed Postgres connection string"}},
		"a broken profile":     {[]string{"-config", configure(t, "")}, settings, []string{"Temporal's settings"}},
		"an unknown flag":      {[]string{"-confg", "x"}, environment{}, []string{"-confg", "-config"}},
		"an argument":          {[]string{"worker.yaml"}, environment{}, []string{`takes no arguments`}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			code, said := refused(t, c.args, c.env)
			require.Equal(t, 2, code, said)
			for _, want := range c.want {
				require.Contains(t, said, want)
			}
		})
	}
}

func TestAPortThatIsTakenEndsWith1(t *testing.T) {
	t.Parallel()
	address, _ := freeAddress(t)
	w := begin(t, configure(t, ""), environment{}.at(address))
	path := configure(t, "")
	document, err := os.ReadFile(path)
	require.NoError(t, err)
	taken := strings.TrimPrefix(w.url, "http://")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(document), "127.0.0.1:0", taken)), 0o600))
	code, said := refused(t, []string{"-config", path}, environment{}.at(address))
	require.Equal(t, 1, code)
	require.Contains(t, said, "listen on "+taken)
}

func TestHelpIsNoFailure(t *testing.T) {
	t.Parallel()
	code, said := refused(t, []string{"-h"}, environment{})
	require.Zero(t, code)
	require.Contains(t, said, "TEMPORAL_ADDRESS")
}
