package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/converter"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

const waitFor, every = 60 * time.Second, 50 * time.Millisecond

func TestASecondStartIsRefusedWhileOneRuns(t *testing.T) {
	t.Parallel()
	const id = "start-twice"
	startWorker(t, id)
	startStub(t, id)

	again := call(t, "start", id, "--task-queue", id)
	require.Equal(t, exitError, again.code)
	require.Contains(t, again.stderr, "migration start-twice is running already")
	require.Contains(t, again.stderr, "contraflow watch start-twice")

	require.Zero(t, call(t, "approve", id, "cutover", "--by", "alice").code)
	require.Equal(t, exitOK, call(t, "watch", id).code)
	require.Zero(t, call(t, "start", id, "--task-queue", id, "--by", "carol").code, "once it has ended, the same plan may be started again")
}

func TestAPlanFileTravelsWhole(t *testing.T) {
	t.Parallel()
	a := callAlone(t, "start", "../examples/shop/plan.yaml", "--id", "whole-plan", "--task-queue", "nobody", "--by", "carol", "--json")
	require.Zero(t, a.code, a.stdout)
	var s started
	a.decode(t, &s)
	require.Contains(t, s.Waits, "No worker answers")
	require.Equal(t, started{ID: "whole-plan", RunID: s.RunID, Plan: "split-customer-address", StartedBy: "carol", Waits: s.Waits}, s)

	events := dial(t).GetWorkflowHistory(t.Context(), s.ID, s.RunID, false, 0)
	first, err := events.Next()
	require.NoError(t, err)
	var raw map[string]any
	attributes := first.GetWorkflowExecutionStartedEventAttributes()
	require.NoError(t, converter.GetDefaultDataConverter().FromPayloads(attributes.GetInput(), &raw))
	require.Equal(t, "carol", raw["startedBy"])
	require.Equal(t, "split-customer-address", raw["plan"].(map[string]any)["name"])
	require.Len(t, raw["plan"].(map[string]any)["steps"], 9)
	require.Equal(t, signals.Workflow, attributes.GetWorkflowType().GetName())
}

func TestAMigrationThatIsRefusedAtOnceIsNotCalledStarted(t *testing.T) {
	t.Parallel()
	for id, code := range map[string]int{"refused-unknown": exitUsage, "refused-held": exitError} {
		startWorker(t, id)
		a := call(t, "start", id, "--task-queue", id)
		require.Equal(t, code, a.code)
		require.Equal(t, "migration "+id+" failed: the worker says no\n", a.stderr)
		require.Empty(t, a.stdout)
		require.Contains(t, call(t, "status", id, "--json").stdout, `"steps": []`)
	}
}

func TestABeginningIsWaitedFor(t *testing.T) {
	t.Parallel()
	startWorker(t, "begins")
	a := call(t, "start", "begins", "--task-queue", "begins")
	require.Zero(t, a.code)
	require.Equal(t, "Migration begins started. Look on: contraflow watch begins\n", a.stdout)

	a = callAlone(t, "start", "begins-late", "--task-queue", "nobody-begins")
	require.Zero(t, a.code)
	require.Contains(t, a.stdout, "Migration begins-late started; it waits: No worker answers.")
}

func TestABadPlanStartsNothing(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "plan.yaml")
	require.NoError(t, os.WriteFile(file, []byte("name: bad\nsteps:\n  - nmae: x\n    soak: never\n"), 0o600))

	a := callAt(t, "127.0.0.1:1", "start", file) // no server is asked
	require.Equal(t, exitUsage, a.code)
	require.Contains(t, a.stderr, file+":3:")
	require.Contains(t, a.stderr, file+":4:")
	require.Empty(t, a.stdout)

	a = callAt(t, "127.0.0.1:1", "start", file, "--json")
	require.Equal(t, exitUsage, a.code)
	require.Empty(t, a.stderr)
	var f failure
	a.decode(t, &f)
	require.Equal(t, exitUsage, f.ExitCode)
	require.GreaterOrEqual(t, len(f.Problems), 3)
}

func TestWaitEndsAsTheMigrationEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say     []string
		code    int
		outcome watch.Outcome
		tells   string
	}{
		"wait-completed":   {[]string{"approve", "wait-completed", "cutover", "--by", "alice"}, exitOK, watch.Completed, "42 rows changed"},
		"wait-rolled-back": {[]string{"reject", "wait-rolled-back", "cutover", "--by", "alice", "--reason", "no"}, exitRolledBack, watch.RolledBack, "rolled back: rejected by alice"},
		"wait-rollback":    {[]string{"rollback", "wait-rollback", "--reason", "enough"}, exitRolledBack, watch.RolledBack, "rolled back: rollback: enough"},
		"wait-failed":      {[]string{"skip", "wait-failed", "--reason", "boom"}, exitError, watch.Failed, "failed: skipped: boom"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			startWorker(t, name)
			ended := make(chan answer, 1)
			go func() {
				ended <- call(t, "start", name, "--task-queue", name, "--by", "carol", "--wait")
			}()
			require.Eventually(t, func() bool { return call(t, c.say...).code == exitOK }, waitFor, every)

			a := <-ended
			require.Equal(t, c.code, a.code, a.stderr)
			require.Empty(t, a.stderr)
			require.Contains(t, a.stdout, c.tells)
			require.Less(t, strings.Count(a.stdout, "\n"), 15, "no flood: %s", a.stdout)

			a = call(t, "watch", name, "--json")
			require.Equal(t, c.code, a.code, "watching one that has ended tells the same")
			var s watch.Snapshot
			a.decode(t, &s)
			require.Equal(t, c.outcome, s.Outcome)
			if c.outcome == watch.RolledBack {
				require.Equal(t, "expand", s.Report.Compensations[0].Step)
			}
		})
	}
}

func TestCtrlCStopsLookingOnly(t *testing.T) {
	t.Parallel()
	const id = "ctrl-c"
	startWorker(t, id)
	startStub(t, id)
	ctx, interrupt := context.WithCancel(t.Context())
	out := &firstWrite{seen: make(chan struct{})}
	errs := &firstWrite{seen: make(chan struct{})}
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"watch", id}, out, errs, environmentOf(t, server.Address())) }()
	<-out.seen
	interrupt()
	require.Equal(t, exitError, <-code)
	require.Equal(t, "Interrupted. A migration that was started goes on.\n", errs.text())
	require.Equal(t, "Running", statusOf(t, id).String())
}
