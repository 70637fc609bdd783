package activities

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/signals"
)

// RetryRejects tries the rows again that the step has set aside. Their keys stay in the target database.
func (a *Activities) RetryRejects(ctx context.Context, in BackfillInput) (signals.RejectsRetried, error) {
	defer beat(ctx, nothing)()
	db, spec, err := a.opened(ctx, in)
	if err != nil {
		return signals.RejectsRetried{}, fail(ctx, err)
	}
	done, err := a.engine(db.backfill).RetryRejects(ctx, spec)
	if err != nil {
		return signals.RejectsRetried{}, fail(ctx, err)
	}
	if done.Tried > 0 {
		// Under a key of this run of the retry: it may be repeated with the same counts.
		err = db.ledger.Audit(ctx, ledger.Event{
			Key:       "rejects/" + in.Origin.Step + "/" + activity.GetInfo(ctx).WorkflowExecution.RunID,
			Migration: in.Origin.Migration, FirstRun: in.Origin.FirstRun, Plan: in.Origin.Plan, PlanHash: in.Origin.PlanHash, Step: in.Origin.Step,
			Event: "rejects retried", Detail: fmt.Sprintf("%d tried, %d filled, %d left", done.Tried, done.Filled, done.Left),
		})
	}
	return signals.RejectsRetried{Tried: done.Tried, Filled: done.Filled, Left: done.Left}, fail(ctx, err)
}
