package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const (
	// minRecount is the shortest pause between two counts of what people have left: they do not work by the second.
	minRecount = 10 * time.Second
	// recountShare is how much longer the pause is than the count before it, so that counting stays a small load on big tables.
	recountShare = 10
)

// AwaitManual counts the rows that people have left until there is none. It changes nothing.
func (a *Activities) AwaitManual(ctx context.Context, in BackfillInput) error {
	ctx, release := untilStop(ctx)
	defer release()
	left := signals.Manual{Step: in.Origin.Step, Left: -1, AtFirst: -1}
	var earlier signals.Manual // of the attempt before
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &earlier) == nil {
		left = earlier
	}
	var told latest[signals.Manual]
	told.set(left)
	defer beat(ctx, told.details)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	for {
		began := time.Now()
		if left.Left, err = a.engine(db.pool).LeftToPeople(ctx, manual(in.Origin, in.Backfill)); err != nil {
			return fail(ctx, err)
		}
		if left.AtFirst < 0 {
			left.AtFirst = left.Left
		}
		told.set(left)
		if left.Left == 0 {
			return fail(ctx, audit(ctx, db, in.Origin, "backfill", "done by people"))
		}
		pause := time.NewTimer(max(minRecount, recountShare*time.Since(began)))
		select {
		case <-ctx.Done():
			pause.Stop()
			return fail(ctx, context.Cause(ctx))
		case <-pause.C:
		}
	}
}

func manual(o Origin, b plan.Backfill) backfill.Manual {
	return backfill.Manual{Plan: o.Plan, Step: o.Step, Table: b.Table, Where: b.Where}
}
