package workflows

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// maxEvents of the example's history, whatever the number of rows.
const maxEvents = 200

// replayed plays a history again with today's code: an error says where the code asks for something else than it did.
func replayed(h *history.History) error {
	replayer := worker.NewWorkflowReplayer()
	replayer.RegisterWorkflow(Migration)
	return replayer.ReplayWorkflowHistory(quiet{}, h)
}

// target plays the activities on a real server: it does nothing, but takes its time as the real ones do.
type target struct {
	plan  *plan.Plan
	mu    sync.Mutex
	did   []string
	lane  func(context.Context, activities.BackfillInput) error
	inUse error // what is in the way of retiring flags
}

func (w *target) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did = append(w.did, what)
}

func (w *target) noted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.did...)
}

// serve runs a worker with the target's activities under the names that the workflow uses, until stop.
func (w *target) serve(t *testing.T, c client.Client, queue string) (stop func()) {
	t.Helper()
	run := worker.New(c, queue, worker.Options{MaxHeartbeatThrottleInterval: 100 * time.Millisecond})
	run.RegisterWorkflow(Migration)
	real(run, "Begin", w, func(context.Context, activities.BeginInput) (activities.Begun, error) {
		return activities.Begun{Plan: w.plan, Hash: hash}, nil
	})
	real(run, "Finish", w, func(context.Context, activities.FinishInput) (any, error) { return nil, nil })
	real(run, "Audit", w, func(context.Context, activities.AuditInput) (any, error) { return nil, nil })
	real(run, "Migrate", w, func(_ context.Context, in activities.MigrateInput) (activities.Migrated, error) {
		return activities.Migrated{Versions: []uint{in.To}, Version: in.To}, nil
	})
	real(run, "MigrateDown", w, func(_ context.Context, in activities.MigrateInput) (activities.Migrated, error) {
		return activities.Migrated{Version: in.Floor}, nil
	})
	for _, name := range []string{"ApplyFlag", "RestoreFlag", "RetireFlag"} {
		real(run, name, w, func(context.Context, activities.FlagInput) (activities.FlagNow, error) {
			return activities.FlagNow{Summary: "off"}, nil
		})
	}
	real(run, "MayRetire", w, func(context.Context, activities.RetireInput) (activities.Retirable, error) {
		return activities.Retirable{}, w.inUse
	})
	real(run, "PrepareBackfill", w, func(context.Context, activities.BackfillInput) (activities.BackfillPrepared, error) {
		return activities.BackfillPrepared{Lanes: []int{0, 1}, Total: 1000}, nil
	})
	real(run, "BackfillLane", w, func(ctx context.Context, in activities.BackfillInput) (activities.LaneDone, error) {
		if w.lane == nil {
			return activities.LaneDone{Rows: 500}, nil
		}
		return activities.LaneDone{}, w.lane(ctx, in)
	})
	real(run, "ProveBackfill", w, func(context.Context, activities.BackfillInput) (activities.BackfillProven, error) {
		return activities.BackfillProven{Rows: 1000}, nil
	})
	real(run, "ControlBackfill", w, func(context.Context, activities.ControlInput) (any, error) { return nil, nil })
	real(run, "ResetBackfill", w, func(context.Context, activities.BackfillInput) (any, error) { return nil, nil })
	real(run, "Verify", w, func(context.Context, activities.VerifyInput) (activities.Verified, error) {
		return activities.Verified{}, nil
	})
	real(run, "WatchHealth", w, func(ctx context.Context, _ activities.WatchInput) (activities.GuardVerdict, error) {
		return activities.GuardVerdict{Outcome: activities.Healthy}, beating(ctx)
	})
	require.NoError(t, run.Start())
	stop = sync.OnceFunc(run.Stop)
	t.Cleanup(stop)
	return stop
}

func real[In, Out any](r worker.Worker, name string, w *target, act func(context.Context, In) (Out, error)) {
	r.RegisterActivityWithOptions(func(ctx context.Context, in In) (Out, error) {
		out, err := act(ctx, in)
		w.note(keyOf(name, in))
		return out, err
	}, activity.RegisterOptions{Name: name})
}

// beating heartbeats until the activity is cancelled.
func beating(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			activity.RecordHeartbeat(ctx)
		}
	}
}

// onServer starts the example on a real server.
func onServer(t *testing.T, lane func(context.Context, activities.BackfillInput) error) (client.Client, client.WorkflowRun, *target) {
	p := example(t)
	p.Steps[1].Flag.Soak, p.Steps[5].Flag.Soak = plan.Duration(10*time.Millisecond), plan.Duration(10*time.Millisecond)
	c, queue := temporaltest.Client(t), temporaltest.TaskQueue(t)
	w := &target{plan: p, lane: lane}
	w.serve(t, c, queue)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: queue, TaskQueue: queue}, signals.Workflow,
		signals.Input{Name: p.Name, StartedBy: "carol"})
	require.NoError(t, err)
	return c, run, w
}

// awaitStatus asks until the status is as wanted: a loaded machine answers some queries too late.
func awaitStatus(t *testing.T, c client.Client, run client.WorkflowRun, wanted func(signals.Status) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		value, err := c.QueryWorkflow(t.Context(), run.GetID(), "", signals.StatusQuery)
		var s signals.Status
		return err == nil && value.Get(&s) == nil && wanted(s)
	}, time.Minute, 50*time.Millisecond)
}

func historyOf(t *testing.T, c client.Client, run client.WorkflowRun) *history.History {
	h := &history.History{}
	events := c.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(t, err)
		h.Events = append(h.Events, event)
	}
	return h
}

func TestExampleOnAServer(t *testing.T) {
	t.Parallel()
	c, run, w := onServer(t, nil)
	for _, step := range []string{"cutover", "contract"} {
		awaitStatus(t, c, run, func(s signals.Status) bool { return s.Approval != nil && s.Approval.Step == step })
		update, err := c.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
			WorkflowID: run.GetID(), UpdateName: signals.Decide, WaitForStage: client.WorkflowUpdateStageCompleted,
			Args: []any{signals.Decision{Step: step, By: "alice", Verdict: signals.Approved, PlanHash: hash[:12]}},
		})
		require.NoError(t, err)
		var receipt signals.Receipt
		require.NoError(t, update.Get(t.Context(), &receipt))
		require.True(t, receipt.Decided)
	}
	var result signals.Result
	require.NoError(t, run.Get(t.Context(), &result))
	require.EqualValues(t, 1000, result.Rows)
	require.Contains(t, w.noted(), "RetireFlag retire customers-read-new")

	h := historyOf(t, c, run)
	require.Less(t, len(h.Events), maxEvents)
	require.NoError(t, replayed(h))
}

func TestRollbackOnAServerWaitsForTheLanes(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 2)
	c, run, w := onServer(t, func(ctx context.Context, _ activities.BackfillInput) error {
		began <- struct{}{}
		err := beating(ctx)
		winding := time.NewTimer(500 * time.Millisecond) // the chunk under way
		defer winding.Stop()
		<-winding.C
		return err
	})
	<-began
	<-began
	require.NoError(t, c.SignalWorkflow(t.Context(), run.GetID(), "", signals.Rollback, signals.Request{By: "dave"}))
	var failure *temporal.ApplicationError
	require.ErrorAs(t, run.Get(t.Context(), nil), &failure)
	require.Equal(t, signals.RolledBackType, failure.Type())
	did := w.noted()
	require.Equal(t, undone[1:], compensating(did))
	require.Equal(t, []string{"BackfillLane fill 0", "BackfillLane fill 1"}, lanesBefore(did, "ResetBackfill fill"))
	require.NoError(t, replayed(historyOf(t, c, run)))
}

// lanesBefore are the lanes that had ended when this was done, in order; one whose worker stood still may have ended twice.
func lanesBefore(did []string, what string) (lanes []string) {
	for _, key := range did {
		if key == what {
			break
		}
		if matches(key, "BackfillLane") {
			lanes = append(lanes, key)
		}
	}
	slices.Sort(lanes)
	return slices.Compact(lanes)
}
