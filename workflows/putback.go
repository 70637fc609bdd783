package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

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
			m.unresume(signals.Request{Reason: reason(err)})
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
// put back is asked about. What was proved before is proved again, also where no flag has moved behind it yet: what was written
// meanwhile is not served in the new shape before the new shape has it.
func (m *migration) putBack(ctx workflow.Context, wanted func() bool) error {
	legs := m.legs()
	drained := false // requests that saw flags off may write still
	drain := func() error {
		if drained {
			return nil
		}
		drained = true
		return sleepWhile(ctx, m.drain(), wanted)
	}
	for i, leg := range legs {
		for _, at := range leg.places {
			if slices.Contains(m.Off.Flags, at.key) {
				drained = false
			}
			if err := m.putBackOne(ctx, at, !comeBack(legs[i+1:], at.key), wanted); err != nil || !wanted() {
				return err
			}
		}
		if leg.proof == nil {
			continue
		}
		if err := drain(); err != nil || !wanted() {
			return err
		}
		if err := m.proveAgain(ctx, *leg.proof, wanted); err != nil || !wanted() {
			return err
		}
	}
	if err := drain(); err != nil || !wanted() { // checks may meet what those requests write
		return err
	}
	// A soak that ended before anybody told of the press has its rest now.
	if err := sleepWhile(ctx, max(0, m.Soaked.Sub(m.Off.Since)), wanted); err != nil || !wanted() {
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
	name := at.step.Name + "/" + at.key
	for slices.Contains(m.Off.Flags, at.key) {
		in := m.moveInput(at.step, at.key, at.move)
		in.Force, in.Kills = slices.Contains(m.Off.Forced, name), m.Kills
		err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.ApplyFlag, in).Get(ctx, nil)
		if !wanted() || kind(err) == killedType {
			return err
		}
		m.Off.Forced = slices.DeleteFunc(m.Off.Forced, func(forced string) bool { return forced == name }) // it was of what was shown
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
		switch given {
		case forceIt:
			m.Off.Forced = append(m.Off.Forced, name)
		case skipIt:
			back()
		}
	}
	return nil
}

// proveAgain asks a verification that was passed before, and people as long as it does not hold.
func (m *migration) proveAgain(ctx workflow.Context, step plan.Step, wanted func() bool) error {
	for !slices.Contains(m.Off.Forced, step.Name) {
		proving, stop := workflow.WithCancel(ctx)
		asked := workflow.ExecuteActivity(long(proving, compensationAttempts), acts.Verify, activities.VerifyInput{Origin: m.at(step), Verify: *step.Verify})
		err := workflow.Await(ctx, func() bool { return asked.IsReady() || !wanted() })
		stop()
		var proof activities.Verified
		if failed := asked.Get(ctx, &proof); err == nil {
			err = failed
		}
		if !wanted() {
			return err
		}
		if err == nil {
			m.restate(step.Name, signals.StepDone, returned(proof)+askedAgain, proven(step, proof)+askedAgain)
			return nil
		}
		problem, now := "step %s can't be asked whether what it has proved still holds", "can't be asked again: "
		if kind(err) == notProvenType {
			problem, now = "what step %s has proved does not hold any more", "does not hold any more: "
		}
		now += reason(err)
		m.restate(step.Name, signals.StepFailed, now, now)
		text := fmt.Sprintf(problem+": %s; "+lacking, step.Name, reason(err))
		if !m.PointOfNoReturn {
			text += "; `rollback` undoes"
		}
		given, askErr := m.ask(ctx, question{step: step.Name, text: text, offers: []answer{retryIt, forceIt}, wanted: wanted})
		if askErr != nil || !wanted() {
			return askErr
		}
		if given == forceIt {
			m.restate(step.Name, signals.StepDone, "forced: "+now, "forced: "+now)
			m.Off.Forced = append(m.Off.Forced, step.Name)
		}
	}
	return nil
}

// askAboutPuttingBack asks for as long as the flag is to be put back: behind a new pause another resume asks again.
func (m *migration) askAboutPuttingBack(ctx workflow.Context, at place, wanted func() bool, failure error) (answer, error) {
	meaning, offers := "`retry` tries it again, `skip` leaves it as it is and goes on", []answer{retryIt, skipIt}
	if kind(failure) == strangerType {
		meaning, offers = "`retry` looks again, `force` puts it on again with what else was changed, `skip` leaves it as it is and goes on", anyAnswer
	}
	if !m.PointOfNoReturn {
		meaning += "; `rollback` undoes"
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

// leg of the way back: flags that may come on, each where the latest step in it has left it, and then the verification that
// whatever comes next relies on; nil behind the last leg, and where the old shape that it compares with is gone.
type leg struct {
	places []place
	proof  *plan.Step
}

// legs are the flags that the steps have moved and not archived, in the order in which they moved. One that was left to somebody
// else is not ours to turn on. A verification that was passed before any flag moved presumes none: with flags off it is as true as it was.
func (m *migration) legs() []leg {
	legs := []leg{{}}
	drop := func(keys ...string) {
		for l := range legs {
			legs[l].places = without(legs[l].places, keys...)
		}
	}
	moved := false
	for i, step := range m.Plan.Steps[:min(m.Step+1, len(m.Plan.Steps))] {
		last := &legs[len(legs)-1]
		came, whole := m.cameTo(i)
		switch {
		case step.Verify != nil && whole && moved:
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
				moved = moved || at >= 0
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

// proofs are the verifications that the current step relies on, and that rows which were written with flags off may have broken.
func (m *migration) proofs() (all []activities.Proof) {
	for _, leg := range m.legs() {
		if leg.proof != nil {
			all = append(all, activities.Proof{Step: leg.proof.Name, Verify: *leg.proof.Verify})
		}
	}
	return all
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
