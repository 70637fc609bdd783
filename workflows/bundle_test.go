package workflows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const hash = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// begin is the time at which every test starts.
var begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// bundle is one run of a migration in Temporal's test environment: time is skipped, and every activity is played.
type bundle struct {
	*testsuite.TestWorkflowEnvironment
	t      *testing.T
	plan   *plan.Plan
	chat   bool
	begun  activities.Begun
	input  json.RawMessage
	calls  []call // in the order in which the workflow made them
	timers map[string]time.Duration
	hooks  []hook
	silent bool // the chat fails for good: notices still tried at the end outlive the workflow, which no bubble allows

	mu      sync.Mutex
	plays   map[string][]play
	winding map[string]time.Duration // how long an activity goes on after its cancellation
	despite map[string]any           // what it returns in spite of that
}

// call is one activity as the workflow asked for it.
type call struct {
	key string // name, step and what tells it apart: "ApplyFlag write-new 10", "BackfillLane fill 0", "PostNotice stuck"
	in  any
	at  time.Duration // since begin
}

type hook struct {
	key string
	run func()
}

// play is how one execution of an activity goes. The zero value succeeds at once.
type play struct {
	after time.Duration
	out   any
	err   error
	never bool
}

var (
	forever   = play{never: true}
	permanent = play{err: temporal.NewNonRetryableApplicationError("it broke", "Permanent", nil)}
	fleeting  = play{err: errors.New("the network is down")}
)

func example(t *testing.T) *plan.Plan {
	document, err := os.ReadFile("../examples/shop/plan.yaml")
	require.NoError(t, err)
	return planOf(t, string(document))
}

func planOf(t *testing.T, document string) *plan.Plan {
	p, err := plan.Decode("plan.yaml", []byte(document))
	require.NoError(t, err)
	return p
}

func setup(t *testing.T, p *plan.Plan) *bundle {
	t.Helper()
	input, err := json.Marshal(signals.Input{Name: p.Name, StartedBy: "carol"})
	require.NoError(t, err)
	b := &bundle{
		t: t, plan: p, input: input, timers: map[string]time.Duration{},
		begun:   activities.Begun{Plan: p, Hash: hash, Schema: activities.Schema{Folder: "migrations", Highest: 3}},
		plays:   map[string][]play{"WatchHealth": {forever}},
		winding: map[string]time.Duration{},
		despite: map[string]any{},
	}
	b.environment(begin)
	return b
}

func (b *bundle) environment(start time.Time) {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartTime(start)
	env.SetTestTimeout(time.Minute)                // idle on a loaded machine
	env.SetWorkflowRunTimeout(60 * 24 * time.Hour) // skipped at once by a migration that waits for nothing
	env.SetWorkerOptions(worker.Options{
		Interceptors:             []interceptor.WorkerInterceptor{&recorder{b: b}},
		DeadlockDetectionTimeout: time.Minute,
	})
	env.SetOnTimerScheduledListener(func(id string, d time.Duration) { b.timers[id] = d })
	env.SetOnTimerFiredListener(func(id string) { delete(b.timers, id) })
	env.SetOnTimerCanceledListener(func(id string) { delete(b.timers, id) })
	b.TestWorkflowEnvironment = env

	var a *activities.Activities
	env.RegisterActivity(&activities.Activities{})
	played(b, a.Begin, func(activities.BeginInput) activities.Begun {
		begun := b.begun
		begun.Chat = b.chat
		return begun
	})
	done(b, a.Finish, activities.FinishInput{})
	done(b, a.Audit, activities.AuditInput{})
	played(b, a.Migrate, func(in activities.MigrateInput) activities.Migrated {
		return activities.Migrated{Versions: []uint{in.To}, Version: in.To}
	})
	played(b, a.MigrateDown, func(in activities.MigrateInput) activities.Migrated {
		return activities.Migrated{Versions: []uint{in.To}, Version: in.Floor}
	})
	played(b, a.SchemaVersion, func(in activities.MigrateInput) activities.Migrated { return activities.Migrated{Version: in.Floor} })
	played(b, a.ApplyFlag, func(in activities.FlagInput) activities.FlagNow {
		return activities.FlagNow{Summary: fmt.Sprintf("on: %d %% true", in.Percent)}
	})
	played(b, a.RestoreFlag, func(activities.FlagInput) activities.FlagNow { return activities.FlagNow{Summary: "off"} })
	done(b, a.RetireFlag, activities.FlagInput{})
	played(b, a.MayRetire, func(activities.RetireInput) activities.Retirable { return activities.Retirable{} })
	played(b, a.PrepareBackfill, func(activities.BackfillInput) activities.BackfillPrepared {
		return activities.BackfillPrepared{Lanes: []int{0, 1}, Total: 1000}
	})
	played(b, a.BackfillLane, func(activities.BackfillInput) activities.LaneDone { return activities.LaneDone{Rows: 500} })
	played(b, a.ProveBackfill, func(activities.BackfillInput) activities.BackfillProven { return activities.BackfillProven{Rows: 1000} })
	done(b, a.ControlBackfill, activities.ControlInput{})
	done(b, a.ResetBackfill, activities.BackfillInput{})
	done(b, a.InstallSync, activities.BackfillInput{})
	done(b, a.RemoveSync, activities.BackfillInput{})
	done(b, a.AwaitManual, activities.BackfillInput{})
	played(b, a.RetryRejects, func(activities.BackfillInput) signals.RejectsRetried {
		return signals.RejectsRetried{Tried: 3, Filled: 1, Left: 1}
	})
	played(b, a.Verify, func(activities.VerifyInput) activities.Verified { return activities.Verified{} })
	played(b, a.WatchHealth, func(activities.WatchInput) activities.GuardVerdict {
		return activities.GuardVerdict{Outcome: activities.Healthy}
	})
	played(b, a.PostCard, func(in activities.Card) activities.CardRef {
		return activities.CardRef{Channel: "C1", TS: in.Approval.Step}
	})
	done(b, a.UpdateCard, activities.Card{})
	done(b, a.PostNotice, activities.NoticeInput{})
}

func played[In, Out any](b *bundle, method any, usual func(In) Out) {
	b.OnActivity(method, mock.Anything, mock.Anything).Return(func(ctx context.Context, in In) (Out, error) {
		var none Out
		p := b.next(ctx, in)
		if p.never || p.after > 0 {
			if p.err == nil && p.out == nil {
				p.out = usual(in)
			}
			return none, b.later(ctx, p)
		}
		if p.err != nil {
			return none, p.err
		}
		if p.out != nil {
			return p.out.(Out), nil
		}
		return usual(in), nil
	})
}

func done[In any](b *bundle, method any, _ In) {
	b.OnActivity(method, mock.Anything, mock.Anything).Return(func(ctx context.Context, in In) error {
		if p := b.next(ctx, in); p.never || p.after > 0 {
			return b.later(ctx, p)
		} else {
			return p.err
		}
	})
}

// when scripts the executions of the activities with this key, or of all that begin with it; the last play repeats.
func (b *bundle) when(key string, plays ...play) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plays[key] = plays
}

// on runs f whenever the workflow makes a call whose key begins so.
func (b *bundle) on(key string, f func()) { b.hooks = append(b.hooks, hook{key, f}) }

// after runs f at this time since begin.
func (b *bundle) after(d time.Duration, f func()) {
	b.RegisterDelayedCallback(f, begin.Add(d).Sub(b.Now()))
}

func (b *bundle) next(ctx context.Context, in any) play {
	key := keyOf(activity.GetInfo(ctx).ActivityType.Name, in)
	b.mu.Lock()
	defer b.mu.Unlock()
	best, p := b.scripted(key)
	if len(b.plays[best]) > 1 {
		b.plays[best] = b.plays[best][1:]
	}
	return p
}

// peek is what next would return, and leaves it there.
func (b *bundle) peek(key string) play {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, p := b.scripted(key)
	return p
}

// scripted finds the play for a key, and under which name it stands.
func (b *bundle) scripted(key string) (string, play) {
	best := ""
	for scripted := range b.plays {
		if matches(key, scripted) && len(scripted) > len(best) {
			best = scripted
		}
	}
	if len(b.plays[best]) == 0 {
		return best, play{}
	}
	return best, b.plays[best][0]
}

// later completes the activity at workflow time, or leaves it running.
func (b *bundle) later(ctx context.Context, p play) error {
	token := activity.GetInfo(ctx).TaskToken
	if !p.never {
		b.RegisterDelayedCallback(func() { require.NoError(b.t, b.CompleteActivity(token, p.out, p.err)) }, p.after)
	}
	return activity.ErrResultPending
}

func matches(key, scripted string) bool {
	return key == scripted || strings.HasPrefix(key, scripted+" ")
}

func keyOf(name string, in any) string {
	switch in := in.(type) {
	case activities.FlagInput:
		if name == "ApplyFlag" {
			if in.Stage != "" {
				return fmt.Sprintf("%s %s %s %s", name, in.Origin.Step, in.Stage, in.Key)
			}
			return fmt.Sprintf("%s %s %d", name, in.Origin.Step, in.Percent)
		}
		return fmt.Sprintf("%s %s %s", name, in.Origin.Step, in.Key)
	case activities.BackfillInput:
		if name == "BackfillLane" {
			return fmt.Sprintf("%s %s %d", name, in.Origin.Step, in.Lane)
		}
		return name + " " + in.Origin.Step
	case activities.RetireInput:
		return name + " " + in.Origin.Step
	case activities.MigrateInput:
		return name + " " + in.Origin.Step
	case activities.VerifyInput:
		return name + " " + in.Origin.Step
	case activities.ControlInput:
		return name + " " + in.Origin.Step
	case activities.Card:
		return name + " " + in.Origin.Step + " " + in.State
	case activities.NoticeInput:
		return name + " " + in.Kind
	case activities.FinishInput:
		return name + " " + string(in.Outcome)
	}
	return name
}

// execute runs a workflow in a bubble whose clock stands still. Beside an activity that is under way the environment lets timers fire
// by that clock, and on a loaded machine the shortest activity may take seconds.
func (b *bundle) execute(workflow any, args ...any) {
	b.t.Helper()
	if b.silent {
		b.ExecuteWorkflow(workflow, args...)
		return
	}
	stuck := time.AfterFunc(5*time.Minute, func() { panic(b.t.Name() + " goes nowhere") }) // no timeout passes in the bubble
	defer stuck.Stop()
	synctest.Test(b.t, func(*testing.T) { b.ExecuteWorkflow(workflow, args...) })
}

// start runs the migration until it ends, one way or another.
func (b *bundle) start() {
	b.t.Helper()
	b.execute(Migration, b.input)
	require.True(b.t, b.IsWorkflowCompleted())
}

// completes runs the migration to its result.
func (b *bundle) completes() signals.Result {
	b.t.Helper()
	b.start()
	require.NoError(b.t, b.GetWorkflowError())
	var result signals.Result
	require.NoError(b.t, b.GetWorkflowResult(&result))
	require.Equal(b.t, signals.Completed, b.status().State)
	return result
}

// rollsBack runs the migration to its rollback.
func (b *bundle) rollsBack() signals.RollbackReport {
	b.t.Helper()
	b.start()
	failure := b.fails(signals.RolledBackType)
	var report signals.RollbackReport
	require.NoError(b.t, failure.Details(&report))
	require.Equal(b.t, "rolled back: "+report.Cause, failure.Message())
	require.Equal(b.t, b.plan.Name, report.Plan)
	require.Equal(b.t, hash, report.PlanHash)
	require.Equal(b.t, signals.RolledBack, b.status().State)
	require.Equal(b.t, "Finish rolled_back", b.made("Finish")[0].key)
	return report
}

// fails is the error with which the migration has ended.
func (b *bundle) fails(kind string) *temporal.ApplicationError {
	b.t.Helper()
	var failure *temporal.ApplicationError
	require.ErrorAs(b.t, b.GetWorkflowError(), &failure)
	require.Equal(b.t, kind, failure.Type(), failure.Message())
	require.True(b.t, failure.NonRetryable())
	return failure
}

// continues runs the migration until it continues as new, and is the next run, with the same plays.
func (b *bundle) continues() *bundle {
	b.t.Helper()
	b.start()
	var next *workflow.ContinueAsNewError
	require.ErrorAs(b.t, b.GetWorkflowError(), &next)
	require.Equal(b.t, signals.Workflow, next.WorkflowType.Name)
	var raw json.RawMessage
	require.NoError(b.t, converter.GetDefaultDataConverter().FromPayloads(next.Input, &raw))
	b.mu.Lock() // what the run before has not seen end may be played still
	defer b.mu.Unlock()
	n := &bundle{t: b.t, plan: b.plan, chat: b.chat, silent: b.silent, begun: b.begun, input: raw, timers: map[string]time.Duration{},
		plays: maps.Clone(b.plays), winding: b.winding, despite: b.despite}
	n.environment(b.Now())
	n.SetContinuedExecutionRunID("the-run-before")
	return n
}

func (b *bundle) status() signals.Status {
	b.t.Helper()
	var s signals.Status
	value, err := b.QueryWorkflow(signals.StatusQuery)
	require.NoError(b.t, err)
	require.NoError(b.t, value.Get(&s))
	return s
}

// step is the status of one step.
func (b *bundle) step(name string) signals.StepStatus {
	b.t.Helper()
	i := b.plan.StepIndex(name)
	require.GreaterOrEqual(b.t, i, 0, name)
	return b.status().Steps[i]
}

func (b *bundle) notices() []string {
	var texts []string
	for _, n := range b.status().Notices {
		texts = append(texts, n.Text)
	}
	return texts
}

// approve sends a decision as a signal.
func (b *bundle) approve(step, by string) {
	b.SignalWorkflow(signals.Approve, signals.Decision{Step: step, By: by})
}

// approveAll lets alice approve each step some time after it began to wait.
func (b *bundle) approveAll() {
	for _, s := range b.plan.Steps {
		if s.Approve != nil {
			b.whenAsked(s.Name, func() { b.approve(s.Name, "alice") })
		}
	}
}
