package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// RetryRejects tries the rows again that the backfills of a migration have set aside, step by step. It neither waits for the
// migration nor changes it.
func RetryRejects(ctx workflow.Context, in signals.RunningPlan) (signals.RejectsRetried, error) {
	var all signals.RejectsRetried
	for _, step := range in.Plan.Steps {
		if step.Backfill == nil || step.Backfill.Manual {
			continue
		}
		origin := activities.Origin{Migration: in.Migration, FirstRun: in.FirstRun, Plan: in.Plan.Name, PlanHash: in.PlanHash,
			Database: in.Plan.Database, Step: step.Name}
		var done signals.RejectsRetried
		retry := activities.BackfillInput{Origin: origin, Backfill: *step.Backfill}
		if err := workflow.ExecuteActivity(long(ctx, compensationAttempts), acts.RetryRejects, retry).Get(ctx, &done); err != nil {
			return all, err
		}
		all.Tried, all.Filled, all.Left = all.Tried+done.Tried, all.Filled+done.Filled, all.Left+done.Left
	}
	return all, nil
}
