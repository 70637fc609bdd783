package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
)

// backfill fills existing rows: every lane is one activity that runs for as long as the lane is long, and the proof at the
// end counts afresh. All of its progress is in the target database, so history does not grow with rows.
func (m *migration) backfill(ctx workflow.Context, step plan.Step) error {
	if step.Backfill.Manual { // nothing of it is ours to undo
		return m.manual(ctx, step)
	}
	m.push()
	if err := m.sync(ctx, step); err != nil {
		return err
	}
	told := m.controls
	in := m.backfillInput(step)
	if m.Steered {
		wanted := m.wanted()
		in.Control = &wanted
	}
	var prepared activities.BackfillPrepared
	if err := workflow.ExecuteActivity(quick(ctx, 0), acts.PrepareBackfill, in).Get(ctx, &prepared); err != nil {
		return err
	}
	in.Total = prepared.Total
	status := m.current()
	status.Detail = fmt.Sprintf("about %d rows", prepared.Total)
	switch {
	case prepared.Resumed:
		status.Detail += ", going on from the checkpoints of the run before"
	case prepared.Restarted:
		status.Detail += ", afresh: the step has changed since the run before"
	}
	m.show()
	controlling, stop := workflow.WithCancel(ctx)
	defer stop()
	workflow.Go(controlling, func(ctx workflow.Context) { m.control(ctx, step, told) })
	if err := m.lanes(ctx, in, prepared.Lanes); err != nil {
		return err
	}
	var proven activities.BackfillProven
	if err := workflow.ExecuteActivity(long(ctx, 0), acts.ProveBackfill, in).Get(ctx, &proven); err != nil {
		return err
	}
	status.Rows = proven.Rows
	status.Detail = "none left"
	if step.Backfill.Where == "" {
		status.Detail = "every lane done"
	}
	if proven.Rejects > 0 {
		status.Detail += fmt.Sprintf(", %s set aside", rows(proven.Rejects))
	}
	m.addEvidence(step.Name, "%d rows filled, %s", proven.Rows, status.Detail)
	if prepared.Resumed {
		status.Detail += ", went on from the checkpoints of the run before"
	}
	return nil
}

// lanes runs one activity for each lane and waits for all; the first failure stops the others.
func (m *migration) lanes(ctx workflow.Context, in activities.BackfillInput, lanes []int) error {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	running := workflow.NewSelector(ctx)
	var failed error
	for _, lane := range lanes {
		in.Lane = lane
		running.AddFuture(workflow.ExecuteActivity(long(ctx, 0), acts.BackfillLane, in), func(f workflow.Future) {
			if err := f.Get(ctx, nil); err != nil && failed == nil {
				failed = err
				cancel()
			}
		})
	}
	for range lanes {
		running.Select(ctx)
	}
	return failed
}

// control carries every change of pause and rate to the lanes while the step runs.
func (m *migration) control(ctx workflow.Context, step plan.Step, told int) {
	for workflow.Await(ctx, func() bool { return m.controls != told }) == nil {
		told = m.controls
		in := activities.ControlInput{Origin: m.at(step), Control: m.wanted()}
		if err := workflow.ExecuteActivity(quick(ctx, 0), acts.ControlBackfill, in).Get(ctx, nil); err != nil && ctx.Err() == nil {
			m.notice("the backfill could not be told: %s", reason(err))
		}
	}
}

// wanted is what people want of a backfill now.
func (m *migration) wanted() activities.Control {
	return activities.Control{Paused: m.Pausing != nil, RowsPerSecond: m.RowsPerSecond}
}

// unfill takes the sync trigger away, then forgets the checkpoints and fences every lane that may still run, also where the
// trigger stays. The values stay: nothing reads them, and the compensation of the schema drops their columns.
func (m *migration) unfill(ctx workflow.Context, index int) (string, error) {
	in := m.backfillInput(m.Plan.Steps[index])
	in.Undoing = true
	var unsynced error
	if in.Backfill.Sync != "" {
		unsynced = workflow.ExecuteActivity(long(ctx, compensationAttempts), acts.RemoveSync, in).Get(ctx, nil)
	}
	reset := workflow.ExecuteActivity(quick(ctx, compensationAttempts), acts.ResetBackfill, in).Get(ctx, nil)
	switch {
	case unsynced != nil && reset != nil:
		return "", fmt.Errorf("removing its sync trigger: %s; dropping its checkpoints: %s", reason(unsynced), reason(reset))
	case unsynced != nil:
		return "", fmt.Errorf("removing its sync trigger: %s", reason(unsynced))
	case reset != nil:
		return "", reset
	case in.Backfill.Sync != "":
		return "trigger and checkpoints dropped", nil
	}
	return "checkpoints dropped", nil
}

func (m *migration) backfillInput(step plan.Step) activities.BackfillInput {
	return activities.BackfillInput{Origin: m.at(step), Backfill: *step.Backfill}
}

func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}
