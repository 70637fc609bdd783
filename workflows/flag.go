package workflows

import (
	"fmt"
	"slices"
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
	keys, moves := step.Flag.All(), step.Flag.Moves()
	for m.Stage < len(moves) {
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
		if m.Until.IsZero() {
			for _, key := range keys {
				if err := m.move(ctx, step, key, moves[m.Stage]); err != nil {
					return err
				}
			}
			wait := step.Flag.Soak.Std()
			if m.Stage == len(moves)-1 {
				wait = max(wait, m.drain()) // whoever saw the flag as it was before is done when the next step begins
			}
			m.Until = workflow.Now(ctx).Add(wait)
			status := m.current()
			status.Percent = moves[m.Stage].Percent
			status.Detail = fmt.Sprintf("%s at %s", strings.Join(keys, " and "), moves[m.Stage])
			m.show()
		}
		if err := sleepUntil(ctx, m.Until); err != nil {
			return err
		}
		m.Stage++
		m.Until = time.Time{}
		m.considerContinuing()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	m.addEvidence(step.Name, "%s at %s", strings.Join(keys, " and "), moves[len(moves)-1])
	return nil
}

// move brings one flag to a stage.
func (m *migration) move(ctx workflow.Context, step plan.Step, key string, to plan.Move) error {
	in := m.flagInput(step, key)
	in.Percent, in.Stage = to.Percent, to.Stage
	in.ContextKind, in.Targets, in.Segments = step.Flag.ContextKind, step.Flag.Targets, step.Flag.Segments
	in.Attest, in.Create = step.Flag.Attest, step.Flag.Create
	return workflow.ExecuteActivity(quick(ctx, 0), acts.ApplyFlag, in).Get(ctx, nil)
}

// unflag puts the step's flags back to exactly what they were before it, the last one first.
func (m *migration) unflag(ctx workflow.Context, index int) (string, error) {
	step := m.Plan.Steps[index]
	var back []string
	for _, key := range slices.Backward(step.Flag.All()) {
		var now activities.FlagNow
		if err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.RestoreFlag, m.flagInput(step, key)).Get(ctx, &now); err != nil {
			return "", err
		}
		back = append(back, fmt.Sprintf("%s is %s again", key, now.Summary))
	}
	m.Steps[index].Percent = 0
	return strings.Join(back, ", "), nil
}

func (m *migration) flagInput(step plan.Step, key string) activities.FlagInput {
	return activities.FlagInput{Origin: m.at(step), Scope: *m.Plan.Flags, Key: key}
}
