package holder

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
)

const (
	patience = time.Minute
	look     = 20 * time.Millisecond
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// Nobody has to work on a workflow for it to be open, or to be ended.
func TestEndIsOfWhatIsOpenNoMore(t *testing.T) {
	t.Parallel()
	c, id := temporaltest.Client(t), temporaltest.TaskQueue(t)
	how, at, ended, err := End(t.Context(), c, id)
	require.NoError(t, err)
	require.True(t, ended)
	require.Equal(t, NotRunning, how)
	require.Zero(t, at, "nothing is known of it")

	start := func(timeout time.Duration) string {
		t.Helper()
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: id, WorkflowExecutionTimeout: timeout}, "nobody's")
		require.NoError(t, err)
		return run.GetRunID()
	}
	end := func(firstRun, want string) {
		t.Helper()
		require.Eventually(t, func() bool { how, at, ended, err = End(t.Context(), c, id); return err == nil && ended }, patience, look)
		require.Equal(t, want, how)
		require.WithinDuration(t, time.Now(), at, time.Hour)
		is, err := Alive(t.Context(), c, id, firstRun)
		require.NoError(t, err)
		require.False(t, is)
	}
	first := start(0)
	_, _, ended, err = End(t.Context(), c, id)
	require.NoError(t, err)
	require.False(t, ended)
	is, err := Alive(t.Context(), c, id, first)
	require.NoError(t, err)
	require.True(t, is)
	require.NoError(t, c.TerminateWorkflow(t.Context(), id, "", "over"))
	end(first, Terminated)
	end(start(time.Second), NotRunning) // by itself
	start(0)                            // somebody else, who may take the plan over
	_, _, ended, err = End(t.Context(), c, id)
	require.NoError(t, err)
	require.False(t, ended)
}

func TestLocalhostIsSomebodys(t *testing.T) {
	t.Parallel()
	machine, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1 on "+machine, unambiguous("127.0.0.1:1"))
	require.Equal(t, "localhost:1 on "+machine, unambiguous("localhost:1"))
	require.Equal(t, "10.0.0.1:1", unambiguous("10.0.0.1:1"))
	require.Equal(t, "temporal:7233", unambiguous("temporal:7233"))
}
