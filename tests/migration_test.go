package tests

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/signals"
)

// limit of every wait: generous, for a machine that does much else. Nothing depends on how much of it is used.
const limit = 2 * time.Minute

// eventually waits until a condition holds; what names it.
func (b *bundle) eventually(what string, holds func() bool) {
	b.t.Helper()
	require.Eventually(b.t, holds, limit, 20*time.Millisecond, what)
}

// answered makes a call to Temporal, and makes it anew while the ten seconds that the SDK gives it were not enough: a machine that
// does much else may need more. A call that must count once says who it is.
func (b *bundle) answered(what string, call func(ctx context.Context) error) (err error) {
	b.t.Helper()
	settled := func() bool {
		ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second) // the SDK gives a call half of it
		defer cancel()
		err = call(ctx)
		return !unsettled(err)
	}
	if !settled() {
		b.eventually(what, settled)
	}
	return err
}

// unsettled tells an error that says nothing of what became of a call.
func unsettled(err error) bool {
	_, late := errors.AsType[*serviceerror.DeadlineExceeded](err)
	_, lateUpdate := errors.AsType[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err)
	_, busy := errors.AsType[*serviceerror.ResourceExhausted](err)
	_, away := errors.AsType[*serviceerror.Unavailable](err)
	_, lost := errors.AsType[*serviceerror.NamespaceNotFound](err) // by a server that could not read its own database in time
	return late || lateUpdate || busy || away || lost || errors.Is(err, context.DeadlineExceeded)
}

// migrate starts the plan that the worker knows.
func (b *bundle) migrate() client.WorkflowRun {
	b.t.Helper()
	return b.start(b.plan.Name, signals.Input{Name: b.plan.Name, StartedBy: "carol"})
}

// start starts a migration with any input.
func (b *bundle) start(id string, input any) (run client.WorkflowRun) {
	b.t.Helper()
	require.NoError(b.t, b.answered("the start", func(ctx context.Context) (err error) { // one that runs already is that one
		run, err = b.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: b.queue}, signals.Workflow, input)
		return err
	}))
	return run
}

// status of the migration; ok is false while no worker answers.
func (b *bundle) status() (s signals.Status, ok bool) {
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second)
	defer cancel()
	value, err := b.temporal.QueryWorkflow(ctx, b.plan.Name, "", signals.StatusQuery)
	return s, err == nil && value.Get(&s) == nil
}

// reaches waits until the status is so.
func (b *bundle) reaches(what string, so func(signals.Status) bool) (s signals.Status) {
	b.t.Helper()
	b.eventually(what, func() bool {
		var ok bool
		s, ok = b.status()
		return ok && so(s)
	})
	return s
}

// answers waits for the status, whatever it is.
func (b *bundle) answers() signals.Status {
	b.t.Helper()
	return b.reaches("it answers", func(signals.Status) bool { return true })
}

// step of a status; the zero value when there is none.
func step(s signals.Status, name string) signals.StepStatus {
	i := slices.IndexFunc(s.Steps, func(x signals.StepStatus) bool { return x.Name == name })
	if i < 0 {
		return signals.StepStatus{}
	}
	return s.Steps[i]
}

// begins waits until a step has begun.
func (b *bundle) begins(name string) {
	b.t.Helper()
	b.reaches("step "+name+" begins", func(s signals.Status) bool {
		state := step(s, name).State
		return state != "" && state != signals.StepPending
	})
}

// asks waits until a step asks for approval.
func (b *bundle) asks(name string) signals.Status {
	b.t.Helper()
	return b.reaches("step "+name+" asks", func(s signals.Status) bool { return s.Approval != nil && s.Approval.Step == name })
}

// decide sends the validated update.
func (b *bundle) decide(d signals.Decision) (r signals.Receipt, err error) {
	b.t.Helper()
	id := rand.Text()
	err = b.answered("the decision", func(ctx context.Context) error {
		update, err := b.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
			UpdateID: id, WorkflowID: b.plan.Name, UpdateName: signals.Decide, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{d},
		})
		if err != nil {
			return err
		}
		return update.Get(ctx, &r)
	})
	return r, err
}

// approve waits until the step asks, and lets alice say yes.
func (b *bundle) approve(name string) {
	b.t.Helper()
	b.asks(name)
	receipt, err := b.decide(signals.Decision{Step: name, By: "alice", Verdict: signals.Approved})
	require.NoError(b.t, err)
	require.True(b.t, receipt.Decided)
}

// say sends a signal.
func (b *bundle) say(signal string, payload any) {
	b.t.Helper()
	input, err := converter.GetDefaultDataConverter().ToPayloads(payload)
	require.NoError(b.t, err)
	id := rand.Text()
	require.NoError(b.t, b.answered(signal, func(ctx context.Context) error {
		_, err := b.temporal.WorkflowService().SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{
			Namespace: temporalserver.Namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: b.plan.Name},
			SignalName: signal, Input: input, RequestId: id,
		})
		return err
	}))
}

// completes waits for the result of a migration whose approvals have been given.
func (b *bundle) completes() (result signals.Result) {
	b.t.Helper()
	require.NoError(b.t, b.ended(&result))
	require.Equal(b.t, signals.Completed, result.Outcome)
	b.requireMigrated()
	return result
}

// rollsBack waits for the end of a migration that undoes itself.
func (b *bundle) rollsBack() (report signals.RollbackReport) {
	b.t.Helper()
	var failure *temporal.ApplicationError
	require.ErrorAs(b.t, b.ended(nil), &failure)
	require.Equal(b.t, signals.RolledBackType, failure.Type(), failure.Message())
	require.NoError(b.t, failure.Details(&report))
	return report
}

// ended waits for the end, over every continue-as-new.
func (b *bundle) ended(result any) error {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), limit)
	defer cancel()
	for {
		err := b.temporal.GetWorkflow(ctx, b.plan.Name, "").Get(ctx, result)
		require.NoError(b.t, ctx.Err(), "it does not end")
		if !unsettled(err) {
			return err
		}
	}
}

// history of one run; the latest when run is "".
func (b *bundle) history(run string) *historypb.History {
	b.t.Helper()
	return b.historyOf(b.plan.Name, run)
}

func (b *bundle) historyOf(id, run string) *historypb.History {
	b.t.Helper()
	h := &historypb.History{}
	require.NoError(b.t, b.answered("the history", func(ctx context.Context) error {
		h.Events = nil
		events := b.temporal.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				return err
			}
			h.Events = append(h.Events, event)
		}
		return nil
	}))
	return h
}

// document is the plan as JSON.
func (b *bundle) document() string {
	b.t.Helper()
	text, err := json.Marshal(b.plan)
	require.NoError(b.t, err)
	return string(text)
}

// must is v as JSON.
func must(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}
