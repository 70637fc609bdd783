package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/signals"
)

var server *temporalserver.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = temporalserver.Start(context.Background(), temporalserver.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	server.Stop()
	os.Exit(code)
}

const waitFor, every = 60 * time.Second, 50 * time.Millisecond

func dial(t *testing.T, s *temporalserver.Server) client.Client {
	t.Helper()
	c, err := client.Dial(temporaltest.Options(s.Address()))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// How the stub ends, as the signal "end" says.
const (
	endWell     = "well"
	endUndone   = "undone"
	endBadly    = "badly"
	endContinue = "continue"
)

// migration stands in for the real workflow, with activities that beat like the real ones.
func migration(ctx workflow.Context, busy bool) (*signals.Result, error) {
	st := signals.Status{Plan: "p", PlanHash: hash, State: signals.Running, Steps: []signals.StepStatus{
		{Name: "fill", Verb: "backfill", State: signals.StepRunning}, {Name: "people", Verb: "backfill", State: signals.StepWaiting}}}
	if err := workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.Status, error) { return st, nil }); err != nil {
		return nil, err
	}
	if busy {
		ctx := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Hour, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Hour, MaximumInterval: time.Hour},
		})
		for lane := range 2 {
			workflow.ExecuteActivity(ctx, activityLane, lane)
		}
		workflow.ExecuteActivity(ctx, activityProof)
		workflow.ExecuteActivity(ctx, activityManual)
		workflow.ExecuteActivity(ctx, activityGuard)
		workflow.ExecuteActivity(ctx, activityMigrate)
		workflow.ExecuteActivity(ctx, "RestoreFlag")
	}
	var how string
	workflow.GetSignalChannel(ctx, "end").Receive(ctx, &how)
	switch how {
	case endUndone:
		return nil, temporal.NewNonRetryableApplicationError("rolled back: bad", signals.RolledBackType, nil,
			signals.RollbackReport{Plan: "p", Cause: "bad", Compensations: []signals.Compensated{{Step: "fill", Outcome: signals.StepCompensated}}})
	case endBadly:
		return nil, errors.New("table is gone")
	case endContinue:
		return nil, workflow.NewContinueAsNewError(ctx, signals.Workflow, false)
	}
	return &signals.Result{Plan: "p", Rows: 7}, nil
}

func startWorker(t *testing.T, c client.Client, queue string) worker.Worker {
	t.Helper()
	w := worker.New(c, queue, worker.Options{MaxHeartbeatThrottleInterval: 100 * time.Millisecond, DeadlockDetectionTimeout: waitFor})
	w.RegisterWorkflowWithOptions(migration, workflow.RegisterOptions{Name: signals.Workflow})
	register := func(name string, beat func(lane int) []any) {
		w.RegisterActivityWithOptions(func(ctx context.Context, lane int) error {
			activity.RecordHeartbeat(ctx, beat(lane)...)
			select {
			case <-activity.GetWorkerStopChannel(ctx):
			case <-ctx.Done():
			}
			return ctx.Err()
		}, activity.RegisterOptions{Name: name})
	}
	register(activityLane, func(lane int) []any {
		return []any{signals.Progress{Step: "fill", Lane: lane, Rows: 10, Scanned: 20, Total: 40, RowsPerSecond: 5}}
	})
	register(activityProof, func(int) []any { return []any{signals.Progress{Step: "other"}} })
	register(activityGuard, func(int) []any {
		return []any{[]signals.Reading{{Check: "shop answers", Outcome: "pass"}}, []string{"not for people"}}
	})
	register(activityMigrate, func(int) []any { return []any{signals.Blocked{Step: "expand", Text: "pid 1 holds a lock"}} })
	register(activityManual, func(int) []any { return []any{signals.Manual{Step: "people", Left: 3, AtFirst: 9}} })
	w.RegisterActivityWithOptions(func(context.Context) error {
		return errors.New("flag server http://127.0.0.1:8030: connection refused")
	}, activity.RegisterOptions{Name: "RestoreFlag"})
	require.NoError(t, w.Start())
	return w
}

func startStub(t *testing.T, c client.Client, id string, busy bool) string {
	t.Helper()
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: id}, signals.Workflow, busy)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.TerminateWorkflow(context.Background(), id, "", "the test is over") }) // so that no list waits for its worker
	return run.GetRunID()
}

// fetched waits until a migration looks so.
func fetched(t *testing.T, c client.Client, id, runID string, so func(Snapshot) bool) (s Snapshot) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		s, err = Fetch(t.Context(), c, id, runID)
		return err == nil && so(s)
	}, waitFor, every)
	return s
}

func TestFetchSeesWhatTheActivitiesBeat(t *testing.T) {
	t.Parallel()
	const id = "busy"
	c := dial(t, server)
	w := startWorker(t, c, id)
	defer w.Stop()
	runID := startStub(t, c, id, true)
	s := fetched(t, c, id, "", func(s Snapshot) bool {
		return len(s.Progress) == 2 && len(s.Readings) == 1 && s.Blocked != nil && s.Proving != "" && s.Manual != nil && len(s.Pending) == 1 && s.Status != nil
	})

	require.Equal(t, runID, s.RunID)
	require.Equal(t, "p", s.Status.Plan)
	require.Equal(t, []int{0, 1}, []int{s.Progress[0].Lane, s.Progress[1].Lane})
	require.Equal(t, lanes{count: 2, rows: 20, scanned: 40, total: 80, perSecond: 10}, s.lanes("fill"))
	require.Equal(t, "3 rows left for people to do", s.Status.Steps[1].Detail)
	require.Equal(t, "shop answers", s.Readings[0].Check)
	require.Equal(t, signals.Blocked{Step: "expand", Text: "pid 1 holds a lock"}, *s.Blocked)
	require.Equal(t, "RestoreFlag", s.Pending[0].Activity)
	require.Equal(t, int32(2), s.Pending[0].Attempt)
	require.Equal(t, "flag server http://127.0.0.1:8030: connection refused", s.Pending[0].LastFailure)
	require.WithinDuration(t, time.Now().Add(time.Hour), s.Pending[0].NextAttempt, time.Minute)
	require.Greater(t, s.HistoryEvents, int64(3))
	require.False(t, s.Closed)
	require.Empty(t, s.Outcome)

	require.Regexp(t, `(?m)^  waits +flag server http://127\.0\.0\.1:8030: connection refused \(attempt 2, next in 5\d min \d+ s\)$`, strings.Join(Render(s, Style{}), "\n"))
}

// A worker's death is no news any more once another worker's attempt beats, and news again when that one dies too.
func TestAnAttemptThatBeatsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	started := time.Now()
	guard := func(state enumspb.PendingActivityState, beat time.Time) *workflowpb.PendingActivityInfo {
		return &workflowpb.PendingActivityInfo{
			ActivityType: &commonpb.ActivityType{Name: activityGuard}, State: state, Attempt: 2,
			LastFailure:     &failurepb.Failure{Message: "activity Heartbeat timeout"},
			LastStartedTime: timestamppb.New(started), LastHeartbeatTime: timestamppb.New(beat),
		}
	}
	for name, c := range map[string]struct {
		activity *workflowpb.PendingActivityInfo
		waits    int
	}{
		"the attempt before it beat":    {guard(enumspb.PENDING_ACTIVITY_STATE_STARTED, started.Add(-time.Second)), 1},
		"it beats itself":               {guard(enumspb.PENDING_ACTIVITY_STATE_STARTED, started.Add(time.Second)), 0},
		"it has beaten and failed then": {guard(enumspb.PENDING_ACTIVITY_STATE_SCHEDULED, started.Add(time.Second)), 1},
	} {
		var s Snapshot
		s.readActivities([]*workflowpb.PendingActivityInfo{c.activity})
		require.Len(t, s.Pending, c.waits, name)
	}
}

func TestFetchTellsEveryEnd(t *testing.T) {
	t.Parallel()
	c := dial(t, server)
	for id, want := range map[string]struct {
		end     func(id string) error
		outcome Outcome
	}{
		"end-well":       {func(id string) error { return c.SignalWorkflow(t.Context(), id, "", "end", endWell) }, Completed},
		"end-undone":     {func(id string) error { return c.SignalWorkflow(t.Context(), id, "", "end", endUndone) }, RolledBack},
		"end-badly":      {func(id string) error { return c.SignalWorkflow(t.Context(), id, "", "end", endBadly) }, Failed},
		"end-terminated": {func(id string) error { return c.TerminateWorkflow(t.Context(), id, "", "cleaning up") }, Terminated},
	} {
		w := startWorker(t, c, id)
		startStub(t, c, id, false)
		fetched(t, c, id, "", func(s Snapshot) bool { return s.Status != nil })
		require.NoError(t, want.end(id))
		s := fetched(t, c, id, "", func(s Snapshot) bool { return s.Closed })
		w.Stop()
		require.Equal(t, want.outcome, s.Outcome)
		require.False(t, s.Ended.IsZero())
		switch s.Outcome {
		case Completed:
			require.Equal(t, int64(7), s.Result.Rows)
		case RolledBack:
			require.Equal(t, "bad", s.Report.Cause)
			require.Equal(t, "fill", s.Report.Compensations[0].Step)
			require.Empty(t, s.Failure)
		case Failed:
			require.Equal(t, "table is gone", s.Failure)
		case Terminated:
			require.Equal(t, "cleaning up", s.Failure)
		}
		require.Eventually(t, func() bool {
			entries, err := List(t.Context(), c, 50)
			return err == nil && slices.ContainsFunc(entries, func(e Entry) bool {
				return e.ID == id && e.State == string(want.outcome) && !e.Ended.IsZero()
			})
		}, waitFor, every, "the list names the same end")
	}
}

func TestFetchFollowsRunsThatContinue(t *testing.T) {
	t.Parallel()
	const id = "continued"
	c := dial(t, server)
	w := startWorker(t, c, id)
	defer w.Stop()
	first := startStub(t, c, id, false)
	require.NoError(t, c.SignalWorkflow(t.Context(), id, first, "end", endContinue))
	s := fetched(t, c, id, first, func(s Snapshot) bool { return s.RunID != first })
	require.False(t, s.Closed)
	patient := &timed{Client: c}
	_, err := Fetch(Patient(t.Context(), time.Hour), patient, id, "")
	require.NoError(t, err)
	require.Greater(t, patient.given, queryTimeout)
}

// timed notes how long the SDK lets a query take.
type timed struct {
	client.Client
	given time.Duration
}

func (c *timed) QueryWorkflow(ctx context.Context, id, runID, query string, args ...any) (converter.EncodedValue, error) {
	end, _ := ctx.Deadline()
	c.given = time.Until(end) / 2
	return c.Client.QueryWorkflow(ctx, id, runID, query, args...)
}

func TestFetchWithoutAWorker(t *testing.T) {
	t.Parallel()
	const id = "no-worker"
	c := &timed{Client: dial(t, server)}
	startStub(t, c, id, false)
	s, err := Fetch(t.Context(), c, id, "")
	require.NoError(t, err)
	require.LessOrEqual(t, c.given, queryTimeout)
	require.Nil(t, s.Status)
	require.True(t, s.NoWorker)
	require.False(t, s.Closed)
}

func TestFetchOfNothing(t *testing.T) {
	t.Parallel()
	_, err := Fetch(t.Context(), dial(t, server), "nobody", "")
	require.ErrorIs(t, err, ErrUnknown)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Fetch(ctx, dial(t, server), "nobody", "")
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, ErrUnreachable)
}

func TestFollowOutlivesTemporal(t *testing.T) {
	t.Parallel()
	own, err := temporalserver.Start(t.Context(), temporalserver.Options{})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	const id = "outlives"
	c := dial(t, own)
	w := startWorker(t, c, id)
	defer w.Stop()
	startStub(t, c, id, false)

	out := &lockedBuffer{}
	type end struct {
		Snapshot
		error
	}
	ended := make(chan end, 1)
	go func() {
		s, err := Follow(t.Context(), c, id, "", NewLive(out, nil))
		ended <- end{s, err}
	}()
	require.Eventually(t, func() bool { return out.has("backfill fill: running") }, waitFor, every)
	own.Kill()
	require.Eventually(t, func() bool { return out.has("Temporal does not answer, trying again") }, waitFor, every)
	require.NoError(t, own.Restart(t.Context()))
	require.Eventually(t, func() bool { return out.has("Temporal answers again") }, waitFor, every)
	require.NoError(t, c.SignalWorkflow(t.Context(), id, "", "end", endWell))
	e := <-ended
	require.NoError(t, e.error)
	require.Equal(t, Completed, e.Outcome)
	require.True(t, out.has("completed: every step is done, 7 rows changed"))
}
