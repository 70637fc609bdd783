package workflows

import (
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// RetryRejects tries the rows again that the backfills of a migration have set aside, step by step; where one step
// fails the others are tried all the same, and the error has the counts as its details. It neither waits for the migration nor
// changes it.
func RetryRejects(ctx workflow.Context, in signals.RunningPlan) (signals.RejectsRetried, error) {
	var all signals.RejectsRetried
	if in.Plan == nil {
		return all, temporal.NewNonRetryableApplicationError("no plan is given", "BadInput", nil)
	}
	var failed []string
	for _, step := range in.Plan.Steps {
		if step.Backfill == nil || step.Backfill.Manual {
			continue
		}
		origin := activities.Origin{Migration: in.Migration, FirstRun: in.FirstRun, Plan: in.Plan.Name, PlanHash: in.PlanHash,
			Database: in.Plan.Database, Step: step.Name}
		var done signals.RejectsRetried
		retry := activities.BackfillInput{Origin: origin, Backfill: *step.Backfill}
		if err := workflow.ExecuteActivity(long(ctx, compensationAttempts), acts.RetryRejects, retry).Get(ctx, &done); err != nil {
			if ctx.Err() != nil {
				return all, err
			}
			failed = append(failed, fmt.Sprintf("step %s: %s", step.Name, reason(err)))
			done = counted(err)
		}
		all.Tried, all.Filled, all.Left = all.Tried+done.Tried, all.Filled+done.Filled, all.Left+done.Left
	}
	if len(failed) > 0 {
		return all, temporal.NewNonRetryableApplicationError(strings.Join(failed, "; "), "Rejects", nil, all)
	}
	return all, nil
}

// counted is what became of rows before the error.
func counted(err error) (done signals.RejectsRetried) {
	if application, ok := errors.AsType[*temporal.ApplicationError](err); ok && application.HasDetails() {
		_ = application.Details(&done) // counts, or none
	}
	return done
}
