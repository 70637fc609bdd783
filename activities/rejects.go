package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/signals"
)

// RetryRejects tries the rows again that the step has set aside. Their keys stay in the target database. The counts go on from
// the attempt before: what that had done with, is no reject any more. An error has them as its details.
func (a *Activities) RetryRejects(ctx context.Context, in BackfillInput) (signals.RejectsRetried, error) {
	var counts latest[signals.RejectsRetried]
	var earlier signals.RejectsRetried
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &earlier) == nil {
		counts.set(earlier)
	}
	defer beat(ctx, counts.details)()
	db, spec, err := a.opened(ctx, in)
	if err != nil {
		return signals.RejectsRetried{}, fail(ctx, err)
	}
	tried, err := a.engine(db.backfill).RetryRejects(ctx, spec)
	done := signals.RejectsRetried{Tried: earlier.Tried + tried.Tried, Filled: earlier.Filled + tried.Filled, Left: tried.Left}
	counts.set(signals.RejectsRetried{Tried: done.Tried - done.Left, Filled: done.Filled}) // another attempt tries again what is left
	activity.RecordHeartbeat(ctx, counts.details()...)
	if err != nil {
		return done, withDetails(fail(ctx, err), done)
	}
	if done.Tried > 0 {
		// Under a key of this run of the retry: it may be repeated with the same counts.
		err = db.ledger.Audit(ctx, ledger.Event{
			Key:       "rejects/" + in.Origin.Step + "/" + activity.GetInfo(ctx).WorkflowExecution.RunID,
			Migration: in.Origin.Migration, FirstRun: in.Origin.FirstRun, Plan: in.Origin.Plan, PlanHash: in.Origin.PlanHash, Step: in.Origin.Step,
			Event: "rejects retried", Detail: fmt.Sprintf("%d tried, %d filled, %d left", done.Tried, done.Filled, done.Left),
		})
	}
	return done, withDetails(fail(ctx, err), done)
}

func withDetails(err error, details any) error {
	failed, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok {
		return err
	}
	return temporal.NewApplicationErrorWithOptions(failed.Message(), failed.Type(), temporal.ApplicationErrorOptions{
		NonRetryable: failed.NonRetryable(), NextRetryDelay: failed.NextRetryDelay(), Details: []any{details}})
}
