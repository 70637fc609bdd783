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

// notProvenType is the type of the error of a verification that does not hold.
const notProvenType = "NotProven"

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
		m.Forced = false // whoever said so saw something else
		if m.Off == nil {
			m.Off = &killing{Since: workflow.Now(m.ctx)}
			if !v.Since.IsZero() && v.Since.Before(m.Off.Since) { // nobody may have run to hear of it
				m.Off.Since = v.Since
			}
		}
		for _, key := range v.KilledFlags {
			if !slices.Contains(m.Off.Flags, key) {
				m.Off.Flags = append(m.Off.Flags, key)
			}
		}
	}
	m.Pressed = true
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
	if m.Off != nil && len(m.Off.Flags) > 0 {
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
// put back is asked about. One that stands behind a verification comes back once that holds again: what was written meanwhile is
// not served in the new shape before the new shape has it.
func (m *migration) putBack(ctx workflow.Context, wanted func() bool) error {
	legs := m.legs()
	drained := false
	for i, leg := range legs {
		for _, at := range leg.places {
			if slices.Contains(m.Off.Flags, at.key) {
				drained = false
			}
			if err := m.putBackOne(ctx, at, !comeBack(legs[i+1:], at.key), wanted); err != nil || !wanted() {
				return err
			}
		}
		if leg.proof == nil || !comeBack(legs[i+1:], m.Off.Flags...) {
			continue
		}
		if !drained { // requests that saw flags off may write still
			if err := sleepWhile(ctx, m.drain(), wanted); err != nil || !wanted() {
				return err
			}
			drained = true
		}
		if err := m.proveAgain(ctx, *leg.proof, wanted); err != nil || !wanted() {
			return err
		}
	}
	// Until requests that saw a flag off are done, checks may still meet what they write. A soak that ended before anybody told
	// of the press has its rest now.
	if err := sleepWhile(ctx, m.drain()+max(0, m.Soaked.Sub(m.Off.Since)), wanted); err != nil || !wanted() {
		return err
	}
	if stay := slices.DeleteFunc(slices.Clone(m.Off.Flags), m.willMove); len(stay) > 0 {
		m.notice("the kill switch stays with %s: no step of this migration has brought it on, or people left it as it was", strings.Join(stay, ", "))
	}
	return nil
}

// willMove tells whether the current step, or one behind it, brings the flag on.
func (m *migration) willMove(key string) bool {
	return slices.ContainsFunc(m.Plan.Steps[min(m.Step, len(m.Plan.Steps)):], func(s plan.Step) bool {
		return s.Flag != nil && slices.Contains(s.Flag.All(), key)
	})
}

// putBackOne brings one flag back to a place, if it is killed; behind its last one it is so no more.
func (m *migration) putBackOne(ctx workflow.Context, at place, last bool, wanted func() bool) error {
	back := func() { m.Off.Flags = slices.DeleteFunc(m.Off.Flags, func(key string) bool { return key == at.key }) }
	force := false
	for slices.Contains(m.Off.Flags, at.key) {
		in := m.moveInput(at.step, at.key, at.move)
		in.Force, in.Kills = force, m.Kills
		err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.ApplyFlag, in).Get(ctx, nil)
		if !wanted() || kind(err) == killedType {
			return err
		}
		if err == nil {
			if last {
				back()
			}
			return nil
		}
		given, err := m.askAboutPuttingBack(ctx, at, wanted, err)
		if err != nil || !wanted() {
			return err
		}
		if force = given == forceIt; given == skipIt {
			back()
		}
	}
	return nil
}

// proveAgain asks a verification that was passed before, and people as long as it does not hold.
func (m *migration) proveAgain(ctx workflow.Context, step plan.Step, wanted func() bool) error {
	for {
		proving, stop := workflow.WithCancel(ctx)
		asked := workflow.ExecuteActivity(long(proving, compensationAttempts), acts.Verify, activities.VerifyInput{Origin: m.at(step), Verify: *step.Verify})
		err := workflow.Await(ctx, func() bool { return asked.IsReady() || !wanted() })
		stop()
		if failed := asked.Get(ctx, nil); err == nil {
			err = failed
		}
		if err == nil || !wanted() {
			return err
		}
		text := fmt.Sprintf("%s can't be put back: what step %s has proved does not hold any more: %s. While flags were off rows were written in the old shape alone, "+
			"and whoever is served the new one would meet what stood there before: fill them, then `retry`", list(m.Off.Flags), step.Name, reason(err))
		offers := []answer{retryIt}
		if kind(err) != notProvenType {
			text = fmt.Sprintf("%s can't be put back: step %s can't be asked whether what it has proved still holds: %s; `retry` asks again, `skip` goes on without an answer",
				list(m.Off.Flags), step.Name, reason(err))
			offers = append(offers, skipIt)
		}
		if !m.PointOfNoReturn {
			text += "; `rollback` undoes"
		}
		if given, err := m.ask(ctx, question{step: step.Name, text: text, offers: offers, wanted: wanted}); err != nil || !wanted() || given == skipIt {
			return err
		}
	}
}

// askAboutPuttingBack asks for as long as the flag is to be put back: behind a new pause another resume asks again.
func (m *migration) askAboutPuttingBack(ctx workflow.Context, at place, wanted func() bool, failure error) (answer, error) {
	meaning, offers := "`retry` tries it again, `skip` leaves it as it is and goes on", []answer{retryIt, skipIt}
	if kind(failure) == strangerType {
		meaning, offers = "`retry` looks again, `force` goes on from what stands there now, `skip` leaves it as it is and goes on", anyAnswer
	}
	text := fmt.Sprintf("putting back the killed flag %s fails: %s; %s", at.key, reason(failure), meaning)
	return m.ask(ctx, question{step: at.step.Name, text: text, offers: offers, wanted: wanted})
}

// place is where a step has brought one of its flags.
type place struct {
	step plan.Step
	key  string
	move plan.Move
}

// leg of the way back: flags that may come on, each where the latest step in it has left it, and then the verification that the
// next ones stand behind; nil behind the last leg, and where the old shape that it compares with is gone.
type leg struct {
	places []place
	proof  *plan.Step
}

// legs are the flags that the steps have moved and not archived, in the order in which they moved. One that was left to somebody
// else is not ours to turn on.
func (m *migration) legs() []leg {
	legs := []leg{{}}
	drop := func(keys ...string) {
		for l := range legs {
			legs[l].places = without(legs[l].places, keys...)
		}
	}
	for i, step := range m.Plan.Steps[:min(m.Step+1, len(m.Plan.Steps))] {
		last := &legs[len(legs)-1]
		came, whole := m.cameTo(i)
		switch {
		case step.Verify != nil && whole:
			last.proof = &m.Plan.Steps[i]
			legs = append(legs, leg{})
		case step.Irreversible() && whole:
			for l := range legs {
				legs[l].proof = nil
			}
		case step.Flag != nil:
			moves := step.Flag.Moves()
			for k, key := range step.Flag.All() {
				at := len(moves) - 1
				if !whole {
					at = came.stageOf(k)
				}
				switch {
				case came.Left && k == came.Key:
					drop(key)
				case at >= 0:
					last.places = append(without(last.places, key), place{step, key, moves[at]})
				}
			}
		case step.Retire != nil && whole:
			drop(step.Retire.Flags...)
		case step.Retire != nil:
			drop(step.Retire.Flags[:came.Stage]...)
		}
	}
	return legs
}

// cameTo is how far a step has come, unless it is done as a whole.
func (m *migration) cameTo(index int) (at stepState, whole bool) {
	switch {
	case index == m.Step:
		return m.stepState, false
	case m.Steps[index].State == signals.StepSkipped:
		return m.Skipped[index], false
	}
	return stepState{}, true
}

// comeBack tells whether one of these flags has a place in the legs.
func comeBack(legs []leg, keys ...string) bool {
	return slices.ContainsFunc(legs, func(l leg) bool {
		return slices.ContainsFunc(l.places, func(p place) bool { return slices.Contains(keys, p.key) })
	})
}

func without(all []place, keys ...string) []place {
	return slices.DeleteFunc(all, func(p place) bool { return slices.Contains(keys, p.key) })
}

// stageOf is the stage that this flag of the step has reached; -1 for none.
func (s stepState) stageOf(key int) int {
	if s.Until.IsZero() && key >= s.Key {
		return s.Stage - 1
	}
	return s.Stage
}

// list names things as people do: "a", "a and b", "a, b and c".
func list(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	last := len(all) - 1
	return strings.Join(all[:last], ", ") + " and " + all[last]
}
