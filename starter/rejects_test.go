package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestKeysAreShownWithoutMisleadingAnybody(t *testing.T) {
	t.Parallel()
	for want, key := range map[string][]string{
		"7": {"7"}, "a, 1": {"a", "1"}, "Straße": {"Straße"}, `"a, b", c`: {"a, b", "c"}, `""`: {""}, `"two words"`: {"two words"},
		`"\x1b[2Jgone"`: {"\x1b[2Jgone"}, `"line\nbreak\ttab"`: {"line\nbreak\ttab"}, `"say \"x\""`: {`say "x"`}, `"\u202eback"`: {"\u202eback"},
	} {
		require.Equal(t, want, keyText(key))
	}
	require.Equal(t, "STEP   KEY      CODE       TRIES  WHY\n"+
		"fill   7        22P02      1      invalid input syntax for type integer: “…”\n"+
		"phone  acme, 9  transform  12     no country",
		rejectTable([]rejected{
			{Step: "fill", Key: []string{"7"}, Code: "22P02", Tries: 1, Message: "invalid input syntax for type integer: “…”"},
			{Step: "phone", Key: []string{"acme", "9"}, Code: "transform", Tries: 12, Message: "no country"},
		}))
}

func TestRejectsSayWhatIsMissing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	a := call(t, "rejects", "nobody-knows-it", "--config", filepath.Join(folder, "worker.yaml"))
	require.Equal(t, exitError, a.code)
	const hint = "\nIt can do without Temporal: say --plan NAME --database NAME\n"
	require.Equal(t, "look at migration nobody-knows-it: no such migration in namespace default at "+server.Address()+". See what there is: contraflow list"+hint, a.stderr)

	a = callAt(t, "127.0.0.1:1", "rejects", "p")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "127.0.0.1:1")
	require.Contains(t, a.stderr, hint)

	a = call(t, "rejects", "p", "--plan", "p", "--database", "shop", "--config", filepath.Join(folder, "worker.yaml"))
	require.Equal(t, exitUsage, a.code)
	require.Contains(t, a.stderr, "read the worker's configuration")
	require.Contains(t, a.stderr, "--config")

	a = call(t, "rejects", "p", "--plan", "p")
	require.Equal(t, exitUsage, a.code)
	require.Contains(t, a.stderr, "database")
}

// retried stands in for the real workflow.
func retried(_ workflow.Context, in signals.RunningPlan) (signals.RejectsRetried, error) {
	switch in.Plan.Name {
	case "retry-broken":
		return signals.RejectsRetried{}, temporal.NewNonRetryableApplicationError("step fill: no such column", "Rejects", nil, signals.RejectsRetried{})
	case "retry-partly":
		return signals.RejectsRetried{}, temporal.NewNonRetryableApplicationError("step fill: no such column", "Rejects", nil, signals.RejectsRetried{Tried: 2, Filled: 2})
	case "retry-none":
		return signals.RejectsRetried{}, nil
	}
	return signals.RejectsRetried{Tried: 4, Filled: 1, Left: 2}, nil
}

func state(plan string) signals.State {
	if plan == "retry-undone" {
		return signals.RollingBack
	}
	return signals.Waiting
}

// waiting stands in for a migration that waits.
func waiting(ctx workflow.Context, in signals.Input) error {
	if err := workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.Status, error) {
		return signals.Status{Plan: in.Name, PlanHash: stubHash, State: state(in.Name)}, nil
	}); err != nil {
		return err
	}
	if err := workflow.SetQueryHandler(ctx, signals.PlanQuery, func() (signals.RunningPlan, error) {
		return signals.RunningPlan{Migration: in.Name, Plan: &plan.Plan{Name: in.Name}}, nil
	}); err != nil {
		return err
	}
	return workflow.Sleep(ctx, time.Hour)
}

func TestRetryingRejectsNeedsAWorkerThatKnowsThePlan(t *testing.T) {
	t.Parallel()
	_, err := dial(t).ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "retry-alone", TaskQueue: "retry-alone"}, signals.Workflow, signals.Input{Name: "retry-alone"})
	require.NoError(t, err)
	a := callAlone(t, "retry-rejects", "retry-alone")
	require.Equal(t, exitError, a.code)
	require.Equal(t, "no worker answers for migration retry-alone: start one, then try again\n", a.stderr)

	startWorker(t, "retry-planless") // of a workflow without the query
	startStub(t, "retry-planless")
	a = call(t, "retry-rejects", "retry-planless")
	require.Equal(t, exitError, a.code)
	require.Contains(t, a.stderr, "migration retry-planless has no plan to fill rows by")

	a = callAt(t, "127.0.0.1:1", "retry-rejects", "p")
	require.Contains(t, a.stderr, "127.0.0.1:1")
	require.NotContains(t, a.stderr, "no worker")
}

func TestRetryingRejectsTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	const queue = "retry-rejects"
	w := worker.New(dial(t), queue, worker.Options{DeadlockDetectionTimeout: patience})
	w.RegisterWorkflowWithOptions(waiting, workflow.RegisterOptions{Name: signals.Workflow})
	w.RegisterWorkflowWithOptions(retried, workflow.RegisterOptions{Name: signals.RetryRejectsWorkflow})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	for id, want := range map[string]struct {
		code int
		said string
	}{
		"retry-some":   {exitError, "4 tried: 1 filled, 2 left, 1 needed nothing any more.\n"},
		"retry-none":   {exitOK, "No row is set aside.\n"},
		"retry-broken": {exitError, "the rejects of migration retry-broken could not be tried: step fill: no such column\n"},
		"retry-partly": {exitError, "the rejects of migration retry-partly could not be tried: step fill: no such column\nBesides: 2 tried: 2 filled, 0 left.\n"},
		"retry-undone": {exitError, "migration retry-undone is being rolled back: what would be filled goes again. Start its plan again afterwards\n"},
	} {
		require.Zero(t, call(t, "start", id, "--task-queue", queue, "--by", "carol").code)
		a := call(t, "retry-rejects", id)
		require.Equal(t, want.code, a.code, a.stderr)
		require.Equal(t, want.said, a.stdout+a.stderr)
	}
	var done signals.RejectsRetried
	a := call(t, "retry-rejects", "retry-some", "--json")
	a.decode(t, &done)
	require.Equal(t, signals.RejectsRetried{Tried: 4, Filled: 1, Left: 2}, done)
	require.Equal(t, exitError, a.code)
}
