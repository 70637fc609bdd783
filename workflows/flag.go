package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// flag turns a flag on, stage by stage, with a soak under guard after each.
func (m *migration) flag(ctx workflow.Context, step plan.Step) error {
	m.push()
	rollout := step.Flag.Rollout
	if len(rollout) == 0 {
		rollout = []int{100}
	}
	for m.Stage < len(rollout) {
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
		percent := rollout[m.Stage]
		if m.Until.IsZero() {
			var now activities.FlagNow
			in := m.flagInput(step)
			in.Percent, in.ContextKind = percent, step.Flag.ContextKind
			if err := workflow.ExecuteActivity(quick(ctx, 0), acts.ApplyFlag, in).Get(ctx, &now); err != nil {
				return err
			}
			wait := step.Flag.Soak.Std()
			if m.Stage == len(rollout)-1 {
				wait = max(wait, m.drain()) // whoever saw the flag as it was before is done when the next step begins
			}
			m.Until = workflow.Now(ctx).Add(wait)
			status := m.current()
			status.Percent = percent
			status.Detail = fmt.Sprintf("%s at %d %%", step.Flag.Key, percent)
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
	m.addEvidence(step.Name, "%s at %d %%", step.Flag.Key, rollout[len(rollout)-1])
	return nil
}

// unflag puts the flag back to exactly what it was before the step.
func (m *migration) unflag(ctx workflow.Context, index int) (string, error) {
	var now activities.FlagNow
	step := m.Plan.Steps[index]
	if err := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.RestoreFlag, m.flagInput(step)).Get(ctx, &now); err != nil {
		return "", err
	}
	m.Steps[index].Percent = 0
	return fmt.Sprintf("%s is %s again", step.Flag.Key, now.Summary), nil
}

func (m *migration) flagInput(step plan.Step) activities.FlagInput {
	return activities.FlagInput{Origin: m.at(step), Scope: *m.Plan.Flags, Key: step.Flag.Key}
}
