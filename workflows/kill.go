package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// killSwitch is on whose behalf a press of it pauses.
const killSwitch = "kill switch"

// killing is what the kill switch has turned off for everybody and nobody has put back.
type killing struct {
	Flags []string  `json:"flags"`
	Since time.Time `json:"since"`
	// Resuming is what a person has said to let the migration go on: the flags come first.
	Resuming *signals.Request `json:"resuming,omitempty"`
}

// killed takes in that somebody has pressed the kill switch. While the migration rolls back there is nothing to pause.
func (m *migration) killed(v activities.GuardVerdict) {
	m.Kills = max(m.Kills, v.Kill)
	if m.RollingBack {
		m.notice("%s", v.Reading)
		m.news("stuck", v.Reading+"; the migration is rolling back and goes on with that")
		return
	}
	if len(v.KilledFlags) > 0 {
		if m.Off == nil {
			m.Off = &killing{Since: workflow.Now(m.ctx)}
		}
		for _, key := range v.KilledFlags {
			if !slices.Contains(m.Off.Flags, key) {
				m.Off.Flags = append(m.Off.Flags, key)
			}
		}
	}
	m.unresume()
	if m.Pausing == nil {
		m.pause(signals.Request{By: killSwitch, Reason: v.Reading})
	} else { // a person's pause stays the person's
		m.notice("%s", v.Reading)
	}
	m.news("stuck", v.Reading+"; "+m.afterKill())
}

// unresume takes back a resume whose flags are still being put back: whoever said so did not know what has happened since.
func (m *migration) unresume() {
	if m.Off != nil {
		m.Off.Resuming = nil
	}
}

// afterKill says what lets a migration go on behind a press of the kill switch.
func (m *migration) afterKill() string {
	text := "`resume` goes on"
	if m.Off != nil {
		text = fmt.Sprintf("`resume` first puts %s back to where the migration had come, then goes on", list(m.Off.Flags))
	}
	if !m.PointOfNoReturn {
		text += ", `rollback` undoes"
	}
	return text
}

// unlessKilled does what the kill switch may forbid. A change that it has forbidden is no failure: it is made once the guard
// has told of the press and a person has resumed.
func (m *migration) unlessKilled(ctx workflow.Context, do func() error) error {
	for {
		known := m.Kills
		err := do()
		if kind(err) != killedType || ctx.Err() != nil {
			return err
		}
		m.current().Detail = reason(err)
		m.show()
		if err := workflow.Await(ctx, func() bool { return m.Kills > known }); err != nil {
			return err
		}
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
	}
}

// putBackOnResume puts killed flags back when a person resumes, and then lets the steps go on.
func (m *migration) putBackOnResume(ctx workflow.Context) {
	for workflow.Await(ctx, func() bool { return m.Off != nil && m.Off.Resuming != nil }) == nil {
		said := m.Off.Resuming
		m.puttingBack = true
		err := m.putBack(ctx, func() bool { return ctx.Err() == nil && m.Off.Resuming == said })
		m.puttingBack = false
		switch {
		case ctx.Err() != nil:
			return
		case m.Off.Resuming != said: // paused or killed again meanwhile
		case err != nil:
			m.Off.Resuming = nil
			m.notice("resume failed, it stays paused: %s", reason(err))
			m.news("stuck", fmt.Sprintf("resume failed, it stays paused: %s; %s", reason(err), m.afterKill()))
		default:
			if !m.Until.IsZero() {
				m.Until = m.Until.Add(workflow.Now(ctx).Sub(m.Off.Since))
			}
			m.Off = nil
			m.goOn(*said)
		}
		m.show()
	}
}

// putBack brings the killed flags back to where the steps had brought them, for as long as that is wanted. A flag that can't be
// put back is asked about.
func (m *migration) putBack(ctx workflow.Context, wanted func() bool) error {
	for _, at := range m.reached() {
		force := false
		for slices.Contains(m.Off.Flags, at.key) {
			in := m.moveInput(at.step, at.key, at.move)
			in.Force, in.Kills = force, m.Kills
			err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.ApplyFlag, in).Get(ctx, nil)
			if !wanted() || kind(err) == killedType {
				return err
			}
			given := skipIt
			if err != nil {
				if given, err = m.askAboutPuttingBack(ctx, at.key, err); err != nil || !wanted() {
					return err
				}
			}
			if force = given == forceIt; given == skipIt { // or put back
				m.Off.Flags = slices.DeleteFunc(m.Off.Flags, func(key string) bool { return key == at.key })
			}
		}
	}
	// Until requests that saw a flag off are done, checks may still meet what they write.
	if err := workflow.Sleep(ctx, m.drain()); err != nil || !wanted() {
		return err
	}
	if len(m.Off.Flags) > 0 {
		m.notice("the kill switch stays with %s: no step of this migration has brought it on", list(m.Off.Flags))
	}
	return nil
}

func (m *migration) askAboutPuttingBack(ctx workflow.Context, key string, failure error) (answer, error) {
	question := fmt.Sprintf("putting back the killed flag %s fails: %s; ", key, reason(failure))
	if kind(failure) == strangerType {
		return m.ask(ctx, question+"`retry` looks again, `force` goes on from what stands there now, `skip` leaves it as it is and goes on", anyAnswer...)
	}
	return m.ask(ctx, question+"`retry` tries it again, `skip` leaves it as it is and goes on", retryIt, skipIt)
}

// place is where a step has brought one of its flags.
type place struct {
	step plan.Step
	key  string
	move plan.Move
}

// reached lists the flags that the steps have moved and not archived, each where the latest of them has left it, in the order
// in which they moved.
func (m *migration) reached() []place {
	var all []place
	for i, step := range m.Plan.Steps[:min(m.Step+1, len(m.Plan.Steps))] {
		switch {
		case m.Steps[i].State == signals.StepSkipped:
		case step.Flag != nil:
			moves := step.Flag.Moves()
			for k, key := range step.Flag.All() {
				at := len(moves) - 1
				if i == m.Step {
					at = m.stageOf(k)
				}
				if at >= 0 {
					all = append(without(all, key), place{step, key, moves[at]})
				}
			}
		case step.Retire != nil:
			archived := step.Retire.Flags
			if i == m.Step {
				archived = archived[:m.Stage]
			}
			all = without(all, archived...)
		}
	}
	return all
}

func without(all []place, keys ...string) []place {
	return slices.DeleteFunc(all, func(p place) bool { return slices.Contains(keys, p.key) })
}

// stageOf is the stage that this flag of the current step has reached; -1 for none.
func (m *migration) stageOf(key int) int {
	if m.Until.IsZero() && key >= m.Key {
		return m.Stage - 1
	}
	return m.Stage
}

// list names things as people do: "a", "a and b", "a, b and c".
func list(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
}
