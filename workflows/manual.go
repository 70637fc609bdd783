package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// manual waits until people have left no row. How many they have left stands in the activity's heartbeat: history does not
// grow with their work.
func (m *migration) manual(ctx workflow.Context, step plan.Step) error {
	status := m.current()
	status.State = signals.StepWaiting
	status.Detail = "people do the rows, until none matches where"
	m.show()
	if err := workflow.ExecuteActivity(long(ctx, 0), acts.AwaitManual, m.backfillInput(step)).Get(ctx, nil); err != nil {
		return err
	}
	status.Detail = "none left"
	m.addEvidence(step.Name, "done by people, none left")
	return nil
}
