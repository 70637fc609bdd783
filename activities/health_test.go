package activities

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func ptr[T any](v T) *T { return &v }

func (b *bundle) verify(t *testing.T, v plan.Verify, c call) (Verified, error) {
	t.Helper()
	return run[Verified](t, b, b.acts.Verify, VerifyInput{Origin: Origin{Migration: "m", FirstRun: "r", Database: "shop", Step: "prove"}, Verify: v}, c)
}

func TestVerifyProvesOrFailsForGood(t *testing.T) {
	t.Parallel()
	b := setup(t)
	proof, err := b.verify(t, plan.Verify{Query: "select 3", Max: ptr(3.0)}, call{})
	require.NoError(t, err)
	require.Equal(t, Verified{Number: 3}, proof)
	require.Equal(t, "verified 3, may be at most 3", one[string](t, b, "select event || ' ' || detail from contraflow.audit"))

	for _, out := range []plan.Verify{{Query: "select 4", Max: ptr(3.0)}, {Query: "select 2", Min: ptr(3.0)}} {
		_, err = b.verify(t, out, call{})
		requirePermanent(t, err, "NotProven", "the query returned")
	}
	b.exec(t, "create function raising() returns int language plpgsql as $$ begin raise exception 'no'; end $$")
	for _, query := range []string{"select nothing", "select 1, 2", "select null::int", "select 'a'", "select 1 where false", "selec", "select 1/0",
		"select raising()", "select 1; select 2", "insert into contraflow.audit (event_key) values ('x') returning 1"} {
		_, err = b.verify(t, plan.Verify{Query: query, Max: ptr(3.0)}, call{})
		requirePermanent(t, err, "Query")
	}
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit"))

	b.acts.Databases["shop"] = b.open(t, "postgres://S3CRET:S3CRET@127.0.0.1:1/S3CRET?sslmode=disable")
	_, err = b.verify(t, plan.Verify{Query: "select 3", Max: ptr(3.0)}, call{})
	requireRetryable(t, err, "Postgres does not answer")
}

func TestAVerificationEndsWhenItIsCancelledOrItsWorkerStops(t *testing.T) {
	t.Parallel()
	slow := plan.Verify{Query: "select 1 from pg_sleep(600)", Max: ptr(1.0)}
	running := "select count(*)::int from pg_stat_activity where datname = current_database() and state = 'active' and query like '%pg_sleep(600)' and pid <> pg_backend_pid()"
	for title, end := range map[string]struct {
		do    func(chan struct{}, context.CancelCauseFunc)
		check func(*testing.T, error)
	}{
		"cancelled": {func(_ chan struct{}, cancel context.CancelCauseFunc) { cancel(temporal.NewCanceledError()) },
			func(t *testing.T, err error) { require.True(t, temporal.IsCanceledError(err), "%v", err) }},
		"stopped": {func(stop chan struct{}, _ context.CancelCauseFunc) { close(stop) },
			func(t *testing.T, err error) {
				require.Equal(t, time.Millisecond, requireRetryable(t, err, "another goes on"))
			}},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			stop, done := make(chan struct{}), make(chan error, 1)
			go func() {
				_, err := b.verify(t, slow, call{ctx: ctx, stop: stop})
				done <- err
			}()
			require.Eventually(t, func() bool { return one[int](t, b, running) == 1 }, patience, look)
			end.do(stop, cancel)
			end.check(t, requireSoon(t, done))
			require.Eventually(t, func() bool { return one[int](t, b, running) == 0 }, patience, look, "no statement is left running")
		})
	}
}

func (b *bundle) watch(t *testing.T, c call, checks ...plan.Check) (GuardVerdict, error) {
	t.Helper()
	return run[GuardVerdict](t, b, b.acts.WatchHealth, WatchInput{Origin: Origin{Database: "shop"}, Interval: plan.Duration(look), Checks: checks}, c)
}

func TestTheGuardBringsAVerdict(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "create table broken (n int)")
	b.exec(t, "insert into broken values (0)")
	sql := func(query string) plan.Check {
		return plan.Check{Name: "rows", SQL: &plan.SQLProbe{Query: query, Max: ptr(0.0)}}
	}
	var heard []string
	hear, passed := waiting(`"outcome":"pass"`)
	go func() {
		<-passed
		_, _ = b.acts.Databases["shop"].pool.Exec(t.Context(), "update broken set n = 7")
	}()
	verdict, err := b.watch(t, call{onAir: hear, heard: &heard}, sql("select n from broken"))
	require.NoError(t, err)
	require.Equal(t, GuardVerdict{Outcome: Unhealthy, Check: "rows", Reading: "7, may be at most 0"}, verdict)

	limited := sql("select nothing")
	limited.ConsecutiveErrorLimit = ptr(2)
	verdict, err = b.watch(t, call{}, limited)
	require.NoError(t, err)
	require.Equal(t, Inconclusive, verdict.Outcome)
	require.Contains(t, verdict.Reading, "42703")

	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	verdict, err = b.watch(t, call{}, plan.Check{Name: "page", HTTP: &plan.HTTPProbe{URL: page.URL + "/?token=S3CRET"}})
	require.NoError(t, err)
	require.Equal(t, GuardVerdict{Outcome: Unhealthy, Check: "page", Reading: "status 404, must be 200"}, verdict)

	_, err = b.watch(t, call{}, plan.Check{Name: "nothing to probe"})
	requirePermanent(t, err, "BadPlan", "nothing to probe")
}

func TestTheGuardHasThePlansDefaults(t *testing.T) {
	t.Parallel()
	c := check(plan.Check{Name: "s", SQL: &plan.SQLProbe{Query: "q"}}, plan.Duration(time.Second))
	require.Equal(t, []any{time.Second, plan.DefaultSQLFailures, plan.DefaultErrorLimit}, []any{c.Interval, c.FailureLimit, c.ConsecutiveErrorLimit})
	c = check(plan.Check{Name: "h", HTTP: &plan.HTTPProbe{URL: "u"}, Interval: plan.Duration(time.Minute), InitialDelay: plan.Duration(time.Hour), DryRun: true}, plan.Duration(time.Second))
	require.Equal(t, []any{time.Minute, time.Hour, plan.DefaultHTTPFailures, true}, []any{c.Interval, c.InitialDelay, c.FailureLimit, c.DryRun})
	require.Equal(t, plan.DefaultHTTPTimeout, c.HTTP.Timeout)
	c = check(plan.Check{Name: "h", HTTP: &plan.HTTPProbe{}, FailureLimit: ptr(0), ConsecutiveErrorLimit: ptr(1)}, 0)
	require.Equal(t, []any{0, 1}, []any{c.FailureLimit, c.ConsecutiveErrorLimit})
}

func TestReadingsTellHowTheLatestProbesWent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := readings([]health.Standing{{Check: "new"}, {Check: "ok", At: at, Reading: "1"}, {Check: "bad", At: at, Failures: 1}, {Check: "lost", At: at, Errors: 1, Failures: 1}})
	require.Equal(t, []signals.Reading{{Check: "ok", Outcome: "pass", Reading: "1", At: at}, {Check: "bad", Outcome: "fail", At: at}, {Check: "lost", Outcome: "error", At: at}}, got)
}

// guarded runs one WatchHealth with the options that the guard of a migration has.
func guarded(ctx workflow.Context, in WatchInput) (GuardVerdict, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: patience, WaitForCancellation: true})
	var verdict GuardVerdict
	var a *Activities
	err := workflow.ExecuteActivity(ctx, a.WatchHealth, in).Get(ctx, &verdict)
	return verdict, err
}

func TestTheGuardGoesOnWithItsCountsInAnotherWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var probes atomic.Int32
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		probes.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	t.Cleanup(page.Close)
	const limit = 24 // twelve seconds, so that the first worker is stopped before them
	b.acts.HTTP = page.Client()
	in := WatchInput{Origin: Origin{Database: "shop"}, Checks: []plan.Check{{Name: "page", HTTP: &plan.HTTPProbe{URL: page.URL},
		Interval: plan.Duration(500 * time.Millisecond), FailureLimit: ptr(limit)}}}

	c, queue := temporaltest.Client(t), temporaltest.TaskQueue(t)
	start := func() worker.Worker {
		w := worker.New(c, queue, worker.Options{WorkerStopTimeout: patience, MaxHeartbeatThrottleInterval: look, DefaultHeartbeatThrottleInterval: look})
		w.RegisterWorkflow(guarded)
		w.RegisterActivity(b.acts)
		require.NoError(t, w.Start())
		return w
	}
	first := start()
	begun, err := c.ExecuteWorkflow(t.Context(), startOptions(queue), guarded, in)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.beating(t, c, begun, 4) }, patience, look)
	asked := time.Now()
	first.Stop()
	require.Less(t, time.Since(asked), patience/2, "the guard doesn't hold up the worker's stop")

	second := start()
	defer second.Stop()
	var verdict GuardVerdict
	require.NoError(t, begun.Get(t.Context(), &verdict))
	require.Equal(t, Unhealthy, verdict.Outcome)
	require.LessOrEqual(t, int(probes.Load()), limit+3, "the second worker did not count from the start")
}

func TestTemporalCancelsALaneAndCallsItCancelled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 2000, "rowsPerSecond: 100, ")
	b.prepare(t, in)
	c, queue := temporaltest.Client(t), temporaltest.TaskQueue(t)
	var once sync.Once
	var result error
	walked := func(ctx workflow.Context, in BackfillInput) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: patience, WaitForCancellation: true})
		var a *Activities
		err := workflow.ExecuteActivity(ctx, a.BackfillLane, in).Get(ctx, nil)
		once.Do(func() { result = err })
		return err
	}
	w := worker.New(c, queue, worker.Options{MaxHeartbeatThrottleInterval: time.Second, DefaultHeartbeatThrottleInterval: time.Second})
	w.RegisterWorkflowWithOptions(walked, workflow.RegisterOptions{Name: "walked"})
	w.RegisterActivity(b.acts)
	require.NoError(t, w.Start())
	defer w.Stop()
	begun, err := c.ExecuteWorkflow(t.Context(), startOptions(queue), "walked", in)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.filled(t) > 0 }, patience, look)
	require.NoError(t, c.CancelWorkflow(t.Context(), begun.GetID(), ""))
	require.Error(t, begun.Get(t.Context(), nil))
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, result, &cancelled, "not a failure")
	require.Less(t, b.filled(t), 2000)
}

// failures reads the guard's standings out of pending heartbeats.
func failures(raw []byte) int {
	var standings []health.Standing
	if json.Unmarshal(raw, &standings) != nil || len(standings) == 0 {
		return 0
	}
	return standings[0].Failures
}
