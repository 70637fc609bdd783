package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// sync installs the step's trigger, if it wants one: from then on the rows that are written meanwhile are filled as well.
func (m *migration) sync(ctx workflow.Context, step plan.Step) error {
	if step.Backfill.Sync == "" {
		return nil
	}
	return workflow.ExecuteActivity(long(ctx, 0), acts.InstallSync, m.backfillInput(step)).Get(ctx, nil)
}

// synced are the steps before this one whose triggers may still be there, also those that an earlier run left.
func (m *migration) synced() (left []activities.BackfillInput) {
	for i, step := range m.Plan.Steps[:m.Step] {
		if step.Backfill != nil && step.Backfill.Sync != "" && !slices.Contains(m.Unsynced, i) {
			left = append(left, m.backfillInput(step))
		}
	}
	return left
}

func (m *migration) unsynced(gone ...activities.BackfillInput) {
	for _, in := range gone {
		m.Unsynced = append(m.Unsynced, m.Plan.StepIndex(in.Origin.Step))
	}
}

// unsync removes the triggers that are left behind the last step.
func (m *migration) unsync(ctx workflow.Context) error {
	for _, in := range m.synced() {
		// While somebody holds it, or flags are off by the kill switch, the old shape may be all that is written.
		if err := m.whilePaused(ctx); err != nil {
			return err
		}
		if err := workflow.ExecuteActivity(long(ctx, 0), acts.RemoveSync, in).Get(ctx, nil); err != nil {
			return fmt.Errorf("removing the sync trigger of step %s fails: %s", in.Origin.Step, reason(err))
		}
		m.unsynced(in)
	}
	return nil
}

// unsyncAll removes what is left behind the last step. All has been done by then, so a failure undoes nothing: it is asked about.
func (m *migration) unsyncAll(ctx workflow.Context) error {
	for {
		err := m.unsync(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		given, askErr := m.ask(ctx, question{
			text: err.Error() + "; `retry` tries it again, `skip` leaves it there, to be dropped by hand", offers: []answer{retryIt, skipIt},
		})
		if askErr != nil || given == skipIt {
			return askErr
		}
	}
}
