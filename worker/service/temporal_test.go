package service

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/contraflow/contraflow/gateway"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/signals"
)

// patient continues as new once and waits for a decision.
func patient(ctx workflow.Context, again bool) (signals.Decision, error) {
	if again {
		return signals.Decision{}, workflow.NewContinueAsNewError(ctx, patient, false)
	}
	var approved, rejected signals.Decision
	s := workflow.NewSelector(ctx)
	s.AddReceive(workflow.GetSignalChannel(ctx, signals.Approve), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &approved) })
	s.AddReceive(workflow.GetSignalChannel(ctx, signals.Reject), func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &rejected) })
	s.Select(ctx)
	if rejected.By != "" {
		rejected.Verdict = signals.Rejected
		return rejected, nil
	}
	return approved, nil
}

func TestAMigrationIsAliveAsLongAsItsChainRuns(t *testing.T) {
	t.Parallel()
	c, queue := temporaltest.Client(t), temporaltest.TaskQueue(t)
	w := worker.New(c, queue, worker.Options{DeadlockDetectionTimeout: patience})
	w.RegisterWorkflow(patient)
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	is := func(id, firstRun string) bool {
		t.Helper()
		now, err := alive(c)(t.Context(), id, firstRun)
		require.NoError(t, err)
		return now
	}
	require.False(t, is("never started", "run"))

	begun, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: queue, TaskQueue: queue}, patient, true)
	require.NoError(t, err)
	firstRun := begun.GetRunID()
	require.Eventually(t, func() bool {
		now, err := c.DescribeWorkflowExecution(t.Context(), queue, "")
		return err == nil && now.GetWorkflowExecutionInfo().GetExecution().GetRunId() != firstRun
	}, patience, look)
	require.True(t, is(queue, firstRun), "it continued as new")
	require.False(t, is(queue, "another run of that name"))

	d := decider{c}
	click := gateway.Decision{Migration: queue, Step: "cutover", PlanHash: "h", By: "alice", Decision: slackcard.Reject, Reason: "no"}
	require.NoError(t, d.Decide(t.Context(), click))
	var got signals.Decision
	require.NoError(t, begun.Get(t.Context(), &got))
	require.Equal(t, signals.Decision{Step: "cutover", By: "alice", Reason: "no", PlanHash: "h", Via: "slack", Verdict: signals.Rejected}, got)
	require.False(t, is(queue, firstRun), "it has ended")
	err = d.Decide(t.Context(), click)
	require.ErrorIs(t, err, gateway.ErrRefused)
	require.ErrorContains(t, err, "is not running any more")

	again, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: queue, TaskQueue: queue}, patient, false)
	require.NoError(t, err)
	require.False(t, is(queue, firstRun), "what runs now is another migration of the same name")
	require.True(t, is(queue, again.GetRunID()))
	require.NoError(t, c.TerminateWorkflow(t.Context(), queue, "", "over"))
	require.Eventually(t, func() bool {
		now, err := alive(c)(t.Context(), queue, again.GetRunID())
		return err == nil && !now
	}, patience, look)
}

func TestAliveIsUnknownWhileTemporalIsDown(t *testing.T) {
	t.Parallel()
	address, _ := freeAddress(t)
	c, err := client.NewLazyClient(client.Options{HostPort: address})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	ctx, cancel := contextWithin(t, 2*time.Second)
	defer cancel()
	_, err = alive(c)(ctx, "m", "r")
	require.Error(t, err)
}

func TestHomeIsWhatTemporalSaysOfItself(t *testing.T) {
	t.Parallel()
	c := temporaltest.Client(t)
	one, err := home(c, client.Options{Namespace: "default", HostPort: "temporal:7233"})(t.Context())
	require.NoError(t, err)
	require.Equal(t, "temporal:7233", one.Address)
	require.NotEmpty(t, one.Cluster)
	other, err := home(c, client.Options{Namespace: "default", HostPort: "localhost:7233"})(t.Context())
	require.NoError(t, err)
	require.True(t, one.Same(other), "whatever its address")
	machine, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, "localhost:7233 on "+machine, other.Address)

	address, _ := freeAddress(t)
	down, err := client.NewLazyClient(client.Options{HostPort: address})
	require.NoError(t, err)
	t.Cleanup(down.Close)
	ctx, cancel := contextWithin(t, 2*time.Second)
	defer cancel()
	_, err = home(down, client.Options{})(ctx)
	require.Error(t, err, "who can't be asked may be another")
}

func TestLinksToTheUI(t *testing.T) {
	t.Parallel()
	require.Nil(t, workflowURL("", "default"))
	require.Equal(t, "http://ui/namespaces/my%20space/workflows/a%2Fb/run/history", workflowURL("http://ui/", "my space")("a/b", "run"))
}

// unwell is a Temporal that does not describe its namespace, as one does that is just coming up, for as long as err says.
func unwell(t *testing.T, namespace string, err func() error) client.Client {
	t.Helper()
	o := temporaltest.Options(temporaltest.Address(t))
	o.Namespace = namespace
	o.ConnectionOptions.DialOptions = []grpc.DialOption{grpc.WithChainUnaryInterceptor(func(
		ctx context.Context, method string, in, out any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption,
	) error {
		if strings.HasSuffix(method, "/DescribeNamespace") {
			if err := err(); err != nil {
				return err
			}
		}
		return call(ctx, method, in, out, cc, opts...)
	})}
	c, dialled := client.Dial(o)
	require.NoError(t, dialled)
	t.Cleanup(c.Close)
	return c
}

func newWorker(t *testing.T, c client.Client) func() worker.Worker {
	return func() worker.Worker {
		w := worker.New(c, temporaltest.TaskQueue(t), worker.Options{})
		w.RegisterWorkflow(patient)
		return w
	}
}

func TestAWorkerStartsOnceTemporalAnswers(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	c := unwell(t, "default", func() error {
		if asked.Add(1) > 1 {
			return nil
		}
		return status.Error(codes.DeadlineExceeded, "late")
	})
	w, err := start(t.Context(), slog.New(slog.DiscardHandler), newWorker(t, c))
	require.NoError(t, err)
	w.Stop()
	require.Equal(t, int32(2), asked.Load())
}

func TestAWorkerDoesNotStartWhereItIsNotWanted(t *testing.T) {
	t.Parallel()
	w, err := start(t.Context(), slog.New(slog.DiscardHandler), newWorker(t, unwell(t, "nowhere", func() error { return nil })))
	require.Nil(t, w)
	require.ErrorContains(t, err, "start the worker: ")
	require.ErrorContains(t, err, "nowhere")
}

func TestAWorkerThatWaitsForTemporalCanBeStopped(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	c := unwell(t, "default", func() error {
		stop()
		return status.Error(codes.DeadlineExceeded, "late")
	})
	w, err := start(ctx, slog.New(slog.DiscardHandler), newWorker(t, c))
	require.NoError(t, err)
	require.Nil(t, w)
}
