package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// retire archives the flags. An archived flag is history: from here on nothing is undone.
func (m *migration) retire(ctx workflow.Context, step plan.Step) error {
	m.PointOfNoReturn = true
	for m.Stage < len(step.Retire.Flags) {
		key := step.Retire.Flags[m.Stage]
		in := activities.FlagInput{Origin: m.at(step), Scope: *m.Plan.Flags, Key: key}
		if err := workflow.ExecuteActivity(quick(ctx, 0), acts.RetireFlag, in).Get(ctx, nil); err != nil {
			return err
		}
		m.Stage++
		m.current().Detail = fmt.Sprintf("%d of %d archived", m.Stage, len(step.Retire.Flags))
	}
	return nil
}
