package workflows

import (
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// push puts the compensation of the current step on the stack, before the step acts: a crash in the middle is then undone
// too. Compensations look at the world first, so one for a step that never acted does nothing. What an earlier run has begun
// lies there already, and the newest step is the last one of the plan, whichever run began it.
func (m *migration) push() {
	if at, there := slices.BinarySearch(m.Compensations, m.Step); !there {
		m.Compensations = slices.Insert(m.Compensations, at, m.Step)
	}
}

// rollBack compensates newest step first, on a context that no cancellation reaches, and ends with the RolledBack error.
func (m *migration) rollBack() error {
	ctx := m.disconnected()
	m.unresume(signals.Request{Reason: m.Cause})
	m.Pausing, m.Aside = nil, nil
	watching, stop := workflow.WithCancel(ctx)
	defer stop()
	workflow.Go(watching, m.guard)
	m.closeApproval("cancelled")
	if len(m.Log) == 0 {
		m.news("rolling_back", fmt.Sprintf("%s rolls back: %s", m.Plan.Name, m.Cause))
	}
	for len(m.Compensations) > 0 {
		index := m.Compensations[len(m.Compensations)-1]
		outcome, err := m.compensate(ctx, index)
		if err != nil {
			return err
		}
		m.Log = append(m.Log, outcome)
		m.Compensations = m.Compensations[:len(m.Compensations)-1]
		m.show()
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			m.settle()
			return m.continueAsNew()
		}
	}
	m.finish(ctx, signals.RolledBack, m.Cause)
	m.State, m.Ended = signals.RolledBack, workflow.Now(ctx)
	m.show()
	m.lastNotice("rolled_back", fmt.Sprintf("%s rolled back: %s", m.Plan.Name, m.Cause))
	report := signals.RollbackReport{Plan: m.Plan.Name, PlanHash: m.PlanHash, Cause: m.Cause, Compensations: m.Log}
	return temporal.NewNonRetryableApplicationError("rolled back: "+m.Cause, signals.RolledBackType, nil, report)
}

// compensate undoes one step; when that keeps failing it asks a person and never gives up silently.
func (m *migration) compensate(ctx workflow.Context, index int) (signals.Compensated, error) {
	step, status := m.Plan.Steps[index], &m.Steps[index]
	m.stepState = stepState{}
	for {
		status.State = signals.StepCompensating
		m.show()
		detail, failure := m.undo(ctx, index)
		outcome := signals.StepCompensated
		if failure != nil {
			problem := fmt.Sprintf("undoing step %s fails: %s", step.Name, reason(failure))
			given, err := m.askAboutUndoing(ctx, step, problem, failure)
			if err != nil {
				return signals.Compensated{}, err
			}
			m.Forced = given == forceIt
			if given != skipIt {
				continue
			}
			if step.Flag != nil { // it is about one flag: those that moved with it still go back
				m.leave(step, failure)
				continue
			}
			outcome, detail = signals.StepSkipped, problem
		}
		if m.Left {
			outcome = signals.StepSkipped
		}
		status.State, status.Detail, status.Ended = outcome, detail, workflow.Now(ctx)
		return signals.Compensated{Step: step.Name, Outcome: outcome, Detail: detail}, nil
	}
}

func (m *migration) askAboutUndoing(ctx workflow.Context, step plan.Step, problem string, failure error) (answer, error) {
	what := "it"
	if step.Flag != nil {
		what = "flag " + m.nextBack(step)
	}
	meaning, offers := "`retry` tries it again, `skip` leaves %s as it is and goes on", []answer{retryIt, skipIt}
	if step.Flag != nil && kind(failure) == strangerType {
		meaning, offers = "`retry` looks again, `force` puts what was there before over it, `skip` leaves %s as it is and goes on", anyAnswer
	}
	return m.ask(ctx, question{step: step.Name, text: problem + "; " + fmt.Sprintf(meaning, what), offers: offers})
}

// flagsToUndo tells whether flags are still where this migration has brought them.
func (m *migration) flagsToUndo() bool {
	return slices.ContainsFunc(m.Compensations, func(index int) bool { return m.Plan.Steps[index].Flag != nil })
}

func (m *migration) undo(ctx workflow.Context, index int) (string, error) {
	switch m.Plan.Steps[index].Verb() {
	case plan.VerbMigrate:
		if m.flagsWentBack() {
			if err := workflow.Sleep(ctx, m.drain()); err != nil {
				return "", err
			}
		}
		return m.unmigrate(ctx, index)
	case plan.VerbFlag:
		return m.unflag(ctx, index)
	case plan.VerbBackfill:
		return m.unfill(ctx, index)
	}
	return "", fmt.Errorf("step %s has no compensation", m.Plan.Steps[index].Name)
}

// flagsWentBack tells whether requests may still be on their way that saw a flag as it was before its compensation.
func (m *migration) flagsWentBack() bool {
	for i, s := range m.Steps {
		if m.Plan.Steps[i].Flag != nil && (s.State == signals.StepCompensated || s.State == signals.StepSkipped) {
			return true
		}
	}
	return false
}

// drain is how long a request may run on that has evaluated a flag just before its change.
func (m *migration) drain() time.Duration {
	if m.Plan.Flags != nil && m.Plan.Flags.Drain != nil {
		return m.Plan.Flags.Drain.Std()
	}
	return plan.DefaultDrain
}
