package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// soak lets time pass under guard.
func (m *migration) soak(ctx workflow.Context, step plan.Step) error {
	if m.Until.IsZero() {
		m.Until = workflow.Now(ctx).Add(step.Soak.Std())
	}
	m.current().State = signals.StepWaiting
	m.current().Detail = "soaking for " + step.Soak.String()
	m.show()
	if err := m.soaked(ctx); err != nil {
		return err
	}
	m.current().Detail = "soaked for " + step.Soak.String()
	return nil
}
