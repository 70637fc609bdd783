// Package workflows is the deterministic orchestration: one workflow type, Migration, interprets any plan.
// Each verb stands in a file of its own; saga.go undoes, guard.go watches, listen.go hears people.
package workflows

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// acts names the activities; it is never dereferenced.
var acts *activities.Activities

// migration is one run of a plan: what must survive a continue-as-new is in state, the rest lives with this run.
type migration struct {
	state
	ctx  workflow.Context // of the whole run; steps get one that an interruption cancels
	halt workflow.CancelFunc

	interrupted interruption
	asked       *question                   // while it is stuck
	puttingBack bool                        // killed flags, before the steps go on
	closing     bool                        // the end is being written down: nothing that is said now could act any more
	controls    int                         // rises when pause, resume or throttle must reach a running backfill
	writing     bool                        // the audit
	posting     int                         // cards and notices on their way
	closed      map[string]string           // how the approval of a step ended, for a card that is still on its way
	refreshing  map[activities.CardRef]bool // cards that are being shown anew
}

// interruption says why the steps were halted.
type interruption string

const (
	notInterrupted  interruption = ""
	toRollBack      interruption = "roll back"
	toContinueAsNew interruption = "continue as new"
)

// errHalted ends a step whose context was cancelled by an interruption.
var errHalted = errors.New("halted")

// Migration runs a plan. Its input is signals.Input in any of its three forms, or the state of the run before.
// A rolled back migration fails with type signals.RolledBackType and a signals.RollbackReport as details.
func Migration(ctx workflow.Context, raw json.RawMessage) (*signals.Result, error) {
	m := &migration{ctx: ctx, closed: map[string]string{}, refreshing: map[activities.CardRef]bool{}}
	if err := m.restore(raw); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(err.Error(), "BadInput", nil)
	}
	if err := m.serve(); err != nil {
		return nil, err
	}
	result, err := m.run()
	if err := workflow.Await(m.disconnected(), func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return nil, err
	}
	return result, err
}

func (m *migration) run() (*signals.Result, error) {
	if m.Plan == nil {
		if err := m.begin(); err != nil {
			return nil, err
		}
	}
	m.listen()
	workflow.Go(m.disconnected(), m.auditing)
	m.catchUp() // what was said before counts from the first step on
	if !m.RollingBack {
		err := m.forward()
		if err == nil {
			return m.complete()
		}
		if m.continuing() {
			m.settle()
			if m.continuing() { // neither a rollback nor a cancellation has come in meanwhile
				return nil, m.continueAsNew()
			}
		}
		m.Waiting = 0
		if m.Step < len(m.Steps) && m.current().State != signals.StepPending {
			m.current().State, m.current().Ended = signals.StepFailed, workflow.Now(m.ctx)
		}
		if m.Cause == "" { // an interruption has set it already
			m.Cause = reason(err)
		}
		if m.PointOfNoReturn {
			return nil, m.abandon()
		}
		m.RollingBack = true
	}
	return nil, m.rollBack()
}

// begin resolves the plan and checks it against the world. Until it succeeds nothing has been changed.
func (m *migration) begin() error {
	var begun activities.Begun
	in := activities.BeginInput{Origin: m.origin(), Input: m.Input}
	if err := workflow.ExecuteActivity(quick(m.ctx, 0), acts.Begin, in).Get(m.ctx, &begun); err != nil {
		m.State, m.Cause, m.Ended = signals.Failed, reason(err), workflow.Now(m.ctx)
		m.show()
		return err
	}
	m.Plan, m.PlanHash, m.Schema = begun.Plan, begun.Hash, begun.Schema
	m.Chat, m.Step, m.PointOfNoReturn = begun.Chat, begun.ResumeAt, begun.ResumeAt > 0
	m.Compensations = begun.Begun
	m.Input = signals.Input{Name: begun.Plan.Name, StartedBy: m.Input.StartedBy} // the document is in Plan now
	for i, s := range m.Plan.Steps {
		status := signals.StepStatus{Name: s.Name, Verb: string(s.Verb()), State: signals.StepPending}
		if i < m.Step {
			status.State, status.Detail = signals.StepDone, "by an earlier run"
		}
		m.Steps = append(m.Steps, status)
	}
	m.show()
	return nil
}

// forward runs the steps that are left, under guard. When it returns nothing acts any more.
func (m *migration) forward() error {
	ctx, cancel := workflow.WithCancel(m.ctx)
	m.halt = cancel
	if m.interrupted != notInterrupted { // a signal came in before the first step
		cancel()
	}
	workflow.Go(ctx, m.guard)
	workflow.Go(ctx, m.putBackOnResume)
	workflow.Go(ctx, m.keepCard)
	err := m.stepByStep(ctx)
	cancel()
	_ = workflow.Await(m.disconnected(), func() bool { return !m.puttingBack }) // nothing cancels this context
	return err
}

func (m *migration) stepByStep(ctx workflow.Context) error {
	for m.Step < len(m.Plan.Steps) {
		m.considerContinuing()
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
		if err := m.runStep(ctx); err != nil {
			return err
		}
		m.Step++
		m.stepState = stepState{}
	}
	// The guard or a person may have halted it while the last step ended, or while the triggers went.
	if err := m.whilePaused(ctx); err != nil {
		return err
	}
	if err := m.unsyncAll(ctx); err != nil {
		return err
	}
	return m.whilePaused(ctx)
}

// runStep runs the current step to its end. Behind the point of no return a failure is asked about instead of returned, and
// before it what a person has to see first.
func (m *migration) runStep(ctx workflow.Context) error {
	step := m.Plan.Steps[m.Step]
	for {
		now := workflow.Now(ctx)
		status := m.current()
		status.State = signals.StepRunning
		if status.Started.IsZero() {
			status.Started = now
		}
		m.show()
		known := m.Kills
		err := m.timed(ctx, step, m.verb(step))
		if errors.Is(err, errSkipped) {
			m.skip(ctx)
			return nil
		}
		// What a proof presumes did not hold with flags off: it is asked again, whatever it said.
		if m.Kills != known && ctx.Err() == nil && (step.Verify != nil || step.Backfill != nil && err != nil) {
			status.Detail = "asked again behind the kill switch"
			m.Deadline = time.Time{}
			if err := m.whilePaused(ctx); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			status.State, status.Ended = signals.StepDone, workflow.Now(ctx)
			m.show()
			return nil
		}
		if ctx.Err() != nil {
			return errHalted
		}
		status.State, status.Detail = signals.StepFailed, reason(err)
		m.Given, m.Waiting = noAnswer, 0
		m.closeApproval("expired") // open still if the step's own timeout ended it
		meaning, offers := m.choices(step, err)
		problem := fmt.Sprintf("step %s: %s", step.Name, reason(err))
		if len(offers) == 0 {
			return errors.New(problem)
		}
		given, askErr := m.ask(ctx, question{step: step.Name, text: problem + "; " + meaning, offers: offers})
		if askErr != nil {
			return askErr
		}
		if given == forceIt && m.Kills != known { // what stands there since, nobody has seen
			given = retryIt
		}
		switch given {
		case skipIt:
			m.addEvidence(step.Name, "skipped: %s", status.Detail)
			m.Left = step.Flag != nil && slices.Contains([]string{strangerType, refusedType}, kind(err))
			m.skip(ctx)
			return nil
		case forceIt:
			m.addEvidence(step.Name, "forced: %s", status.Detail)
		}
		m.Forced, m.Until, m.Deadline = given == forceIt, time.Time{}, time.Time{} // it is timed afresh
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
	}
}

// skip gives the current step up, and remembers how far it has come.
func (m *migration) skip(ctx workflow.Context) {
	status := m.current()
	status.State, status.Ended = signals.StepSkipped, workflow.Now(ctx)
	if m.Skipped == nil {
		m.Skipped = map[int]stepState{}
	}
	m.Skipped[m.Step] = m.stepState
	m.show()
}

// verb is the function of the step's verb.
func (m *migration) verb(step plan.Step) func(workflow.Context, plan.Step) error {
	switch step.Verb() {
	case plan.VerbMigrate:
		return m.migrate
	case plan.VerbFlag:
		return m.flag
	case plan.VerbBackfill:
		return m.backfill
	case plan.VerbVerify:
		return m.verify
	case plan.VerbApprove:
		return m.approve
	case plan.VerbSoak:
		return m.soak
	case plan.VerbRetire:
		return m.retire
	}
	return func(workflow.Context, plan.Step) error { return fmt.Errorf("unknown verb %q", step.Verb()) }
}

// timed bounds a step by its timeout.
func (m *migration) timed(ctx workflow.Context, step plan.Step, run func(workflow.Context, plan.Step) error) error {
	if step.Timeout == 0 {
		return run(ctx, step)
	}
	if m.Deadline.IsZero() {
		m.Deadline = workflow.Now(ctx).Add(step.Timeout.Std())
	}
	bounded, cancel := workflow.WithCancel(ctx)
	defer cancel()
	expired := false
	workflow.Go(bounded, func(ctx workflow.Context) {
		if m.reach(ctx, func() time.Time { return m.Deadline }) == nil {
			expired = true
			cancel()
		}
	})
	err := run(bounded, step)
	if err != nil && expired {
		return fmt.Errorf("not done within its timeout of %s%s", step.Timeout, waitedFor(step, err))
	}
	return err
}

// complete closes a migration whose steps have all run.
func (m *migration) complete() (*signals.Result, error) {
	ctx := m.disconnected()
	m.finish(ctx, signals.Completed, "")
	m.State, m.Ended = signals.Completed, workflow.Now(ctx)
	m.show()
	m.lastNotice("completed", fmt.Sprintf("%s completed: %d rows filled", m.Plan.Name, m.rows()))
	return &signals.Result{Plan: m.Plan.Name, PlanHash: m.PlanHash, Outcome: signals.Completed, Rows: m.rows(), Started: m.Started, Ended: m.Ended}, nil
}

// abandon ends a migration that was cancelled behind the point of no return: nothing may be undone any more.
func (m *migration) abandon() error {
	ctx := m.disconnected()
	done := 0
	for _, s := range m.Steps {
		if s.State == signals.StepDone {
			done++
		}
	}
	message := fmt.Sprintf("%s: stopped behind the point of no return after %d of %d steps; nothing was undone; start the plan again to go on", m.Cause, done, len(m.Steps))
	m.finish(ctx, signals.Failed, message)
	m.State, m.Ended, m.Cause = signals.Failed, workflow.Now(ctx), message
	m.show()
	m.lastNotice("stuck", message)
	return temporal.NewNonRetryableApplicationError(message, "StoppedBehindPointOfNoReturn", nil)
}

// finish writes what is left of the audit and closes the migration's claim on its plan.
// It waits for a database that does not answer; one that refuses is told about and does not change the outcome.
func (m *migration) finish(ctx workflow.Context, outcome signals.State, detail string) {
	m.closing = true
	err := m.writeAudit(ctx)
	if err == nil {
		in := activities.FinishInput{Origin: m.origin(), Outcome: outcome, Detail: detail}
		err = workflow.ExecuteActivity(quick(ctx, 0), acts.Finish, in).Get(ctx, nil)
	}
	if err != nil {
		m.notice("the end could not be recorded in the target database: %s", reason(err))
	}
}

// disconnected is a context that neither Temporal's cancellation nor an interruption reaches.
func (m *migration) disconnected() workflow.Context {
	ctx, _ := workflow.NewDisconnectedContext(m.ctx) // it lives as long as the run: nothing to cancel
	return ctx
}

// reason is the plain message of what failed, without the SDK's wrapping.
func reason(err error) string {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return application.Message()
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		return "timed out: " + timeout.Message()
	}
	if temporal.IsCanceledError(err) || errors.Is(err, errHalted) {
		return "cancelled"
	}
	return err.Error()
}
