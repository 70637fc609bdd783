package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// flag moves flags on, stage by stage, with a soak under guard after each. Those that move together do so one after the other:
// first all of them reach a stage, then it soaks.
func (m *migration) flag(ctx workflow.Context, step plan.Step) error {
	m.push()
	moves := step.Flag.Moves()
	for m.Stage < len(moves) {
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
		if m.Until.IsZero() {
			out, err := m.together(ctx, step, moves[m.Stage])
			if err != nil {
				return err
			}
			wait := step.Flag.Soak.Std()
			if m.Stage == len(moves)-1 {
				wait = max(wait, m.drain()) // whoever saw the flag as it was before is done when the next step begins
			}
			m.Key, m.Until = 0, workflow.Now(ctx).Add(wait)
			status := m.current()
			status.Percent, status.Stage = moves[m.Stage].Percent, moves[m.Stage].Stage
			status.Detail = serving(step.Flag, moves[m.Stage]) + leftOut(out)
			m.show()
		}
		if err := m.soaked(ctx); err != nil {
			return err
		}
		m.Stage++
		m.Until = time.Time{}
		m.considerContinuing()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	m.addEvidence(step.Name, "%s", serving(step.Flag, moves[len(moves)-1]))
	return nil
}

// together brings all flags of the step to a stage, and returns how many of the named contexts stay off in one of them at most.
// A pause lets those that are left follow, a kill does not.
func (m *migration) together(ctx workflow.Context, step plan.Step, to plan.Move) (out int, err error) {
	keys := step.Flag.All()
	for m.Key < len(keys) {
		if m.Off != nil {
			if err := m.whilePaused(ctx); err != nil {
				return out, err
			}
		}
		var now activities.FlagNow
		var known int64
		err := m.unlessKilled(ctx, func() error {
			in := m.moveInput(step, keys[m.Key], to)
			in.Force, in.Kills = m.Forced, m.Kills
			known = m.Kills
			return workflow.ExecuteActivity(quick(ctx, 0), acts.ApplyFlag, in).Get(ctx, &now)
		})
		if err != nil {
			return out, err
		}
		if m.Kills > known && (m.Off == nil || m.puttingBack) { // behind the resume, which puts it back to where it had come before
			continue
		}
		out = max(out, now.Out)
		m.Key++
		m.Forced = false // it was about that flag and that stage alone
	}
	return out, nil
}

// leftOut says behind what a stage serves whom the kill switch keeps out of it.
func leftOut(out int) string {
	switch out {
	case 0:
		return ""
	case 1:
		return "; 1 of the contexts stays off, since the kill switch was pressed for it"
	}
	return fmt.Sprintf("; %d of the contexts stay off, since the kill switch was pressed for them", out)
}

// unflag puts the step's flags back to exactly what they were before it, the last one first, but those that a person leaves.
func (m *migration) unflag(ctx workflow.Context, index int) (string, error) {
	step := m.Plan.Steps[index]
	for len(m.Back) < len(step.Flag.All()) {
		in := m.flagInput(step, m.nextBack(step))
		in.Force, in.Attest = m.Forced, step.Flag.Attest
		var now activities.FlagNow
		if err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.RestoreFlag, in).Get(ctx, &now); err != nil {
			return "", err
		}
		m.Back = append(m.Back, fmt.Sprintf("%s is %s again", in.Key, now.Summary))
		m.Forced = false
	}
	if !m.Left {
		m.Steps[index].Percent, m.Steps[index].Stage = 0, ""
	}
	return strings.Join(m.Back, "; "), nil
}

// nextBack is the flag that the compensation puts back next.
func (m *migration) nextBack(step plan.Step) string {
	keys := step.Flag.All()
	return keys[len(keys)-1-len(m.Back)]
}

// leave goes on without putting back that flag.
func (m *migration) leave(step plan.Step, failure error) {
	m.Back = append(m.Back, fmt.Sprintf("%s is left as it is: %s", m.nextBack(step), reason(failure)))
	m.Left = true
}

func (m *migration) flagInput(step plan.Step, key string) activities.FlagInput {
	return activities.FlagInput{Origin: m.at(step), Scope: *m.Plan.Flags, Key: key}
}

// moveInput is what brings one flag of the step to a stage.
func (m *migration) moveInput(step plan.Step, key string, to plan.Move) activities.FlagInput {
	in := m.flagInput(step, key)
	in.Percent, in.Stage = to.Percent, to.Stage
	in.ContextKind, in.Targets, in.Segments = step.Flag.ContextKind, step.Flag.Targets, step.Flag.Segments
	in.Attest, in.Create = step.Flag.Attest, step.Flag.Create
	return in
}

// serving says what the flags serve at a stage, and to whom by name as a number alone: keys of contexts are not for everybody.
func serving(f *plan.Flag, at plan.Move) string {
	var to []string
	if at.Percent > 0 || at.Stage != "" {
		to = append(to, "at "+at.String())
	}
	named := 0
	for _, kind := range workflow.DeterministicKeys(f.Targets) {
		named += len(f.Targets[kind])
	}
	var whom []string
	switch {
	case named == 1:
		whom = append(whom, "1 named context")
	case named > 1:
		whom = append(whom, fmt.Sprintf("%d named contexts", named))
	}
	for _, segment := range f.Segments {
		whom = append(whom, "segment "+segment)
	}
	if len(whom) > 0 {
		to = append(to, "for "+strings.Join(whom, ", "))
	}
	return list(f.All()) + " " + strings.Join(to, " and ")
}
