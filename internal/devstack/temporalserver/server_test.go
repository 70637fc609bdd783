package temporalserver_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
)

func dial(t *testing.T, s *temporalserver.Server) client.Client {
	t.Helper()
	c, err := client.DialContext(t.Context(), client.Options{HostPort: s.Address(), Logger: temporalserver.Quiet()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func startWorkflow(t *testing.T, c client.Client, id string) client.WorkflowRun {
	t.Helper()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "nobody-listens"}, "Any")
	require.NoError(t, err)
	return run
}

func TestAWorkflowOutlivesKillAndRestart(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "temporal.db")
	s, err := temporalserver.Start(t.Context(), temporalserver.Options{DBFile: db})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	address, pid := s.Address(), s.Pid()
	run := startWorkflow(t, dial(t, s), "survivor")

	s.Kill()
	require.Zero(t, s.Pid())
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	require.NoError(t, s.Restart(t.Context()))
	require.Equal(t, address, s.Address())
	require.NotEqual(t, pid, s.Pid())
	described, err := dial(t, s).DescribeWorkflowExecution(t.Context(), "survivor", "")
	require.NoError(t, err)
	require.Equal(t, run.GetRunID(), described.GetWorkflowExecutionInfo().GetExecution().GetRunId())

	// Another server on the same file finds it as well: the file was given, so Stop kept it.
	s.Stop()
	again, err := temporalserver.Start(t.Context(), temporalserver.Options{DBFile: db})
	require.NoError(t, err)
	t.Cleanup(again.Stop)
	_, err = dial(t, again).DescribeWorkflowExecution(t.Context(), "survivor", run.GetRunID())
	require.NoError(t, err)
}

func TestStopLeavesNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s, err := temporalserver.Start(t.Context(), temporalserver.Options{})
	require.NoError(t, err)
	require.NotEmpty(t, entries(t, tmp))
	require.Empty(t, s.UIURL())
	pid := s.Pid()
	s.Stop()
	s.Stop() // twice is allowed
	require.Empty(t, entries(t, tmp))
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
}

func entries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	return list
}

func TestTheUIAnswersWhereAskedFor(t *testing.T) {
	t.Parallel()
	s, err := temporalserver.Start(t.Context(), temporalserver.Options{UI: true, LogFile: filepath.Join(t.TempDir(), "log")})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	require.Eventually(t, func() bool {
		answer, err := http.Get(s.UIURL())
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}, 20*time.Second, 50*time.Millisecond)
}

func TestDynamicConfigReachesTheServer(t *testing.T) {
	t.Parallel()
	s, err := temporalserver.Start(t.Context(), temporalserver.Options{DynamicConfig: map[string]string{"limit.maxIDLength": "40"}})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	startWorkflow(t, dial(t, s), "short")
	_, err = dial(t, s).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: strings.Repeat("x", 41), TaskQueue: "q"}, "Any")
	require.ErrorContains(t, err, "length exceeds limit")
}

func TestStartRefusesATakenPort(t *testing.T) {
	t.Parallel()
	s, err := temporalserver.Start(t.Context(), temporalserver.Options{})
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	_, err = temporalserver.Start(t.Context(), temporalserver.Options{Port: atoiPort(t, s.Address())})
	require.ErrorContains(t, err, "address already in use")

	_, err = dial(t, s).WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: temporalserver.Namespace})
	require.NoError(t, err, "the first one is unharmed")
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := temporalserver.Start(ctx, temporalserver.Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestBinarySaysHowToGetIt(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := temporalserver.Binary()
	require.ErrorIs(t, err, temporalserver.ErrNoBinary)
	require.ErrorContains(t, err, "make tools")
	_, err = temporalserver.Start(t.Context(), temporalserver.Options{CLI: "no/such/temporal"})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func atoiPort(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	return n
}
