package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// errSkipped ends a step that a person has given up while it ran.
var errSkipped = errors.New("skipped")

// never is before all that people have said.
const never = -1

// retire archives the flags, once nobody would notice. An archived flag is history: from the first one on nothing is undone.
func (m *migration) retire(ctx workflow.Context, step plan.Step) error {
	looked := never // in m.controls: while it is held the world goes on, and is looked at again
	for m.Stage < len(step.Retire.Flags) {
		err := m.unlessKilled(ctx, func() error {
			for looked != m.controls || m.Pausing != nil {
				if err := m.whilePaused(ctx); err != nil {
					return err
				}
				if err := m.mayRetire(ctx, step); err != nil {
					return err
				}
				looked = m.controls
			}
			before := m.PointOfNoReturn
			m.PointOfNoReturn = true
			in := m.flagInput(step, step.Retire.Flags[m.Stage])
			in.Force, in.Kills = m.Forced, m.Kills
			err := workflow.ExecuteActivity(quick(ctx, 0), acts.RetireFlag, in).Get(ctx, nil)
			if why := kind(err); why == killedType || why == inUseType { // it was refused before anything was archived or marked
				m.PointOfNoReturn, looked = before, never
			}
			return err
		})
		if err != nil {
			return err
		}
		m.Stage++
		m.current().Detail = fmt.Sprintf("%d of %d archived", m.Stage, len(step.Retire.Flags))
	}
	return nil
}

// mayRetire looks whether anybody would notice, unless a person has said to archive all the same. It may look for weeks if the
// plan says so; people end that by an answer.
func (m *migration) mayRetire(ctx workflow.Context, step plan.Step) error {
	for !m.Forced {
		var may activities.Retirable
		var err error
		if m.Given == noAnswer { // or the run before was told
			may, err = m.lookAtFlags(ctx, step)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		given := m.Given
		m.Given, m.Waiting = noAnswer, 0
		switch {
		case given == skipIt:
			m.addEvidence(step.Name, "skipped%s", stillWaitedFor(err))
			return errSkipped
		case given == forceIt:
			m.addEvidence(step.Name, "forced%s", stillWaitedFor(err))
			m.Forced = true
		case given == noAnswer && err != nil:
			return err
		case given == noAnswer:
			for _, note := range may.Notes {
				m.notice("%s", note)
			}
			return nil
		}
	}
	return nil
}

// lookAtFlags looks at those that are left. While it waits, an answer ends it.
func (m *migration) lookAtFlags(ctx workflow.Context, step plan.Step) (may activities.Retirable, err error) {
	m.current().Detail = "looks whether its flags may go"
	in := activities.RetireInput{Origin: m.at(step), Scope: *m.Plan.Flags, Retire: *step.Retire}
	in.Retire.Flags = in.Retire.Flags[m.Stage:]
	looking, stop := workflow.WithCancel(ctx)
	defer stop()
	if step.Retire.Otherwise == plan.OtherwiseWait {
		if m.Waiting == 0 { // or it waited in the run before
			m.Waiting = m.nextQuestion()
		}
		workflow.Go(looking, func(ctx workflow.Context) {
			if workflow.Await(ctx, func() bool { return m.Given != noAnswer }) == nil {
				stop()
			}
		})
	}
	m.show()
	err = workflow.ExecuteActivity(long(looking, 0), acts.MayRetire, in).Get(ctx, &may)
	return may, err
}

// endless says what people may do while a step waits for something that may never come.
func (m *migration) endless() string {
	text := fmt.Sprintf("step %s waits until its flags can be retired: `retry` looks again at once, `force` archives all the same, "+
		"`skip` goes on and leaves the flags there", m.current().Name)
	if !m.PointOfNoReturn {
		text += "; `rollback` undoes"
	}
	return text
}

// stillWaitedFor is what a cancelled look was waiting for; "" if it says nothing.
func stillWaitedFor(err error) string {
	var cancelled *temporal.CanceledError
	var text string
	if !errors.As(err, &cancelled) || !cancelled.HasDetails() || cancelled.Details(&text) != nil {
		return ""
	}
	return ": " + text
}
