package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
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
	pgtest.Stop()
	os.Exit(code)
}

// answer is what a call of the program left behind.
type answer struct {
	code           int
	stdout, stderr string
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.stdout), v), "stdout: %s", a.stdout)
}

// patience of who calls the program: whom it asks is there, and may only be slow.
const patience = time.Minute

// call runs the program with the server's address in its environment, and no settings of this machine.
func call(t *testing.T, args ...string) answer {
	t.Helper()
	return callAt(t, server.Address(), args...)
}

func callAt(t *testing.T, address string, args ...string) answer {
	t.Helper()
	return callWith(t, patience, address, args...)
}

// callAlone runs it where no worker may be, and waits for none any longer than people do.
func callAlone(t *testing.T, args ...string) answer {
	t.Helper()
	return callWith(t, 0, server.Address(), args...)
}

func callWith(t *testing.T, patience time.Duration, address string, args ...string) answer {
	t.Helper()
	var out, errs bytes.Buffer
	a := app{stdout: &out, stderr: &errs, env: environmentOf(t, address), patience: patience}
	return answer{a.run(t.Context(), args), out.String(), errs.String()}
}

func environmentOf(t *testing.T, address string) []string {
	return []string{"TEMPORAL_ADDRESS=" + address, "TEMPORAL_CONFIG_FILE=" + t.TempDir() + "/none.toml"}
}

func dial(t *testing.T) client.Client {
	t.Helper()
	c, err := client.Dial(temporaltest.Options(server.Address()))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// startWorker runs the stub on a task queue of the test's own.
func startWorker(t *testing.T, queue string) {
	t.Helper()
	w := worker.New(dial(t), queue, worker.Options{DeadlockDetectionTimeout: patience})
	w.RegisterWorkflowWithOptions(migration, workflow.RegisterOptions{Name: signals.Workflow})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
}

const stubHash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// migration stands in for the real workflow: it waits for a decision on step cutover, notes what it is told, and ends as
// people say: approved completes, rejected and rollback roll back, skip fails.
func migration(ctx workflow.Context, raw json.RawMessage) (*signals.Result, error) {
	in, err := signals.ParseInput(raw)
	if err != nil {
		return nil, err
	}
	plan := in.Name
	if plan == "" {
		var document struct{ Name string }
		if err := json.Unmarshal(in.Document, &document); err != nil {
			return nil, err
		}
		plan = document.Name
	}
	if kind, refused := strings.CutPrefix(plan, "refused-"); refused {
		if err := workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.Status, error) { return signals.Status{Plan: plan, State: signals.Failed}, nil }); err != nil {
			return nil, err
		}
		return nil, temporal.NewNonRetryableApplicationError("the worker says no", map[string]string{"unknown": "UnknownPlan", "held": "AlreadyRunning"}[kind], nil)
	}
	st := signals.Status{
		Plan: plan, PlanHash: stubHash, Database: "shop", State: signals.Waiting, StartedBy: in.StartedBy, Started: workflow.Now(ctx),
		Steps:    []signals.StepStatus{{Name: "cutover", Verb: "approve", State: signals.StepWaiting, Started: workflow.Now(ctx)}},
		Approval: &signals.ApprovalStatus{Step: "cutover", By: []string{"alice", "bob"}, Quorum: 1, Deadline: workflow.Now(ctx).Add(time.Hour)},
		Question: 7,
	}
	if err := workflow.SetQueryHandler(ctx, signals.StatusQuery, func() (signals.Status, error) { return st, nil }); err != nil {
		return nil, err
	}
	var verdict signals.Verdict
	cause := ""
	decide := func(d signals.Decision) {
		st.Approval.Decisions = append(st.Approval.Decisions, d)
		verdict, cause = d.Verdict, "rejected by "+d.By
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, signals.Decide, func(_ workflow.Context, d signals.Decision) (signals.Receipt, error) {
		decide(d)
		return signals.Receipt{Step: d.Step, Approvals: 1, Quorum: 1, Decided: true}, nil
	}, workflow.UpdateHandlerOptions{Validator: func(d signals.Decision) error {
		if d.By != "alice" || d.PlanHash != stubHash {
			return fmt.Errorf("%s may not decide on plan hash %q", d.By, d.PlanHash)
		}
		return nil
	}})
	if err != nil {
		return nil, err
	}
	failed := ""
	for _, name := range []string{signals.Pause, signals.Resume, signals.Retry, signals.Force, signals.Rollback, signals.Skip} {
		workflow.Go(ctx, func(ctx workflow.Context) {
			for {
				var r signals.Request
				workflow.GetSignalChannel(ctx, name).Receive(ctx, &r)
				if r.Reason == "too early" {
					st.Notices = append(st.Notices, signals.Notice{At: workflow.Now(ctx), Text: name + " by " + r.By + " refused: nothing is stuck"})
					continue
				}
				text := name + " by " + r.By + ": " + r.Reason
				if r.Question != 0 {
					text += fmt.Sprintf(", to question %d", r.Question)
				}
				st.Notices = append(st.Notices, signals.Notice{At: workflow.Now(ctx), Text: text})
				switch name {
				case signals.Rollback:
					verdict, cause = signals.Rejected, "rollback: "+r.Reason
				case signals.Skip:
					failed = "skipped: " + r.Reason
				}
			}
		})
	}
	for name, v := range map[string]signals.Verdict{signals.Approve: signals.Approved, signals.Reject: signals.Rejected} {
		workflow.Go(ctx, func(ctx workflow.Context) {
			var d signals.Decision
			workflow.GetSignalChannel(ctx, name).Receive(ctx, &d)
			d.Verdict = v
			decide(d)
		})
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		var r signals.ThrottleRequest
		workflow.GetSignalChannel(ctx, signals.Throttle).Receive(ctx, &r)
		st.Notices = append(st.Notices, signals.Notice{At: workflow.Now(ctx), Text: fmt.Sprintf("throttle %d by %s", r.RowsPerSecond, r.By)})
	})
	if err := workflow.Await(ctx, func() bool { return (verdict != "" || failed != "") && workflow.AllHandlersFinished(ctx) }); err != nil {
		return nil, err
	}
	st.Approval = nil
	switch {
	case failed != "":
		st.State = signals.Failed
		return nil, temporal.NewNonRetryableApplicationError(failed, "Skipped", nil)
	case verdict == signals.Rejected:
		st.State = signals.RolledBack
		return nil, temporal.NewNonRetryableApplicationError("rolled back: "+cause, signals.RolledBackType, nil, signals.RollbackReport{
			Plan: plan, PlanHash: stubHash, Cause: cause,
			Compensations: []signals.Compensated{{Step: "expand", Outcome: signals.StepCompensated, Detail: "schema version 1"}},
		})
	}
	st.State = signals.Completed
	return &signals.Result{Plan: plan, PlanHash: stubHash, Outcome: signals.Completed, Rows: 42, Started: st.Started, Ended: workflow.Now(ctx)}, nil
}

// startStub starts a migration on the queue and returns its id, which is the queue's name. It ends with the test: who lists the
// migrations asks for each open one's worker.
func startStub(t *testing.T, queue string) string {
	t.Helper()
	c := dial(t)
	t.Cleanup(func() { _ = c.TerminateWorkflow(context.Background(), queue, "", "the test is over") })
	a := callAlone(t, "start", queue, "--task-queue", queue, "--by", "carol")
	require.Zero(t, a.code, a.stderr)
	return queue
}

func statusOf(t *testing.T, id string) enumspb.WorkflowExecutionStatus {
	t.Helper()
	d, err := dial(t).DescribeWorkflowExecution(t.Context(), id, "")
	require.NoError(t, err)
	return d.GetWorkflowExecutionInfo().GetStatus()
}
