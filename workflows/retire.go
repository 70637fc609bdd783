package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// retire archives the flags, once nobody would notice. An archived flag is history: from the first one on nothing is undone.
func (m *migration) retire(ctx workflow.Context, step plan.Step) error {
	if m.Stage == 0 && !m.Forced {
		if err := m.mayRetire(ctx, step); err != nil {
			return err
		}
	}
	if err := m.whilePaused(ctx); err != nil {
		return err
	}
	m.PointOfNoReturn = true
	for m.Stage < len(step.Retire.Flags) {
		err := m.unlessKilled(ctx, func() error {
			in := m.flagInput(step, step.Retire.Flags[m.Stage])
			in.Force, in.Kills = m.Forced, m.Kills
			return workflow.ExecuteActivity(quick(ctx, 0), acts.RetireFlag, in).Get(ctx, nil)
		})
		if err != nil {
			return err
		}
		m.Stage++
		m.current().Detail = fmt.Sprintf("%d of %d archived", m.Stage, len(step.Retire.Flags))
	}
	return nil
}

// mayRetire looks whether anybody would notice, for weeks if the plan says so.
func (m *migration) mayRetire(ctx workflow.Context, step plan.Step) error {
	m.current().Detail = "looks whether its flags may go"
	m.show()
	var may activities.Retirable
	in := activities.RetireInput{Origin: m.at(step), Scope: *m.Plan.Flags, Retire: *step.Retire}
	if err := workflow.ExecuteActivity(long(ctx, 0), acts.MayRetire, in).Get(ctx, &may); err != nil {
		return err
	}
	for _, note := range may.Notes {
		m.notice("%s", note)
	}
	return nil
}
