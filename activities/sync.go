package activities

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// InstallSync installs the step's sync trigger; it waits for the table as a schema change does.
func (a *Activities) InstallSync(ctx context.Context, in BackfillInput) error {
	options, stop := waitingForTable(ctx, in)
	defer stop()
	db, spec, err := a.opened(ctx, in)
	if err != nil {
		return fail(ctx, err)
	}
	options.Claim = in.held(false)
	if err := a.engine(db.pool).InstallSync(ctx, spec, options); err != nil {
		return fail(ctx, err)
	}
	return fail(ctx, audit(ctx, db, in.Origin, "sync trigger", "installed"))
}

// RemoveSync takes the step's sync trigger away, whoever has installed it. There need not be any. Where the step is being
// compensated, no attempt to install it comes after this.
func (a *Activities) RemoveSync(ctx context.Context, in BackfillInput) error {
	options, stop := waitingForTable(ctx, in)
	defer stop()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	if in.Undoing {
		if err := db.ledger.Undoing(ctx, in.Origin.Plan, in.Origin.holder()); err != nil {
			return fail(ctx, err)
		}
	}
	options.Claim = in.held(true) // also forwards it only takes away
	return fail(ctx, a.removeSync(ctx, db, in, options))
}

func (a *Activities) removeSync(ctx context.Context, db *Database, in BackfillInput, options backfill.SyncOptions) error {
	if err := a.engine(db.pool).RemoveSync(ctx, in.Origin.Plan, in.Origin.Step, options); err != nil {
		return err
	}
	return audit(ctx, db, in.Origin, "sync trigger", "removed")
}

// unsync takes the triggers away before an irreversible step. Where something is dropped next, it fails if rows are without their
// new values by now: an application of the old shape has written after a trigger was gone, or what it could not compute.
func (a *Activities) unsync(ctx context.Context, c change, in MigrateInput, dropping bool) error {
	for _, synced := range in.Synced {
		options := backfill.SyncOptions{OnWait: func(reason string) { c.told.status.set(signals.Blocked{Step: in.Origin.Step, Text: reason}) }}
		if options.Claim = synced.held(true); dropping {
			options.Claim = in.passing
		}
		if err := a.removeSync(ctx, c.db, synced, options); err != nil {
			return err
		}
		if !dropping {
			continue
		}
		if err := a.noneLeft(ctx, c.db, synced); err != nil {
			return err
		}
	}
	return nil
}

// noneLeft counts once more. Columns that can't be asked any more were dropped by an earlier attempt, which had counted.
func (a *Activities) noneLeft(ctx context.Context, db *Database, in BackfillInput) error {
	spec, err := a.spec(db, in.Origin, in.Backfill)
	if err != nil {
		return err
	}
	left, err := a.engine(db.pool).Remaining(ctx, spec)
	statement, _ := errors.AsType[*backfill.StatementError](err)
	if is(err, backfill.ErrNoTable, backfill.ErrNoColumn) || statement != nil && slices.Contains(undefined, statement.Code) {
		return nil
	}
	if err == nil && left > 0 {
		return permanent("Backfill", "%d rows of table %s are without their new values now that the sync trigger of step %s is gone, and what they are computed from "+
			"would be dropped: end the application that writes the old shape, and see that no row matches where", left, in.Backfill.Table, in.Origin.Step)
	}
	return err
}

// undefined are the SQLSTATEs for a column and for a table that are not there.
var undefined = []string{"42703", "42P01"}

// held asks whether the plan is this run's still, and its rollback has not begun, unless that is no obstacle.
func (in BackfillInput) held(undoing bool) func(context.Context, *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		return ledger.Hold(ctx, conn, in.Origin.Plan, in.Origin.holder(), undoing)
	}
}

// passing marks the point of no return together with what it is asked for: of that and a press of the kill switch one wins.
func (in MigrateInput) passing(ctx context.Context, conn *pgx.Conn) error {
	return ledger.PastReturn(ctx, conn, in.Origin.Plan, in.Origin.holder(), in.Kills)
}

// waitingForTable heartbeats who is in the way.
func waitingForTable(ctx context.Context, in BackfillInput) (backfill.SyncOptions, func()) {
	var waiting latest[signals.Blocked]
	waiting.set(signals.Blocked{Step: in.Origin.Step})
	options := backfill.SyncOptions{OnWait: func(reason string) { waiting.set(signals.Blocked{Step: in.Origin.Step, Text: reason}) }}
	return options, beat(ctx, waiting.details)
}

// syncedBefore finds the steps whose sync triggers an earlier run has left. One that no step of the plan would remove is refused:
// it would stand for ever, and fail the application's writes once its columns are gone.
func syncedBefore(ctx context.Context, db *Database, p *plan.Plan) ([]int, error) {
	names, err := backfill.New(db.pool).Synced(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	var steps []int
	for _, name := range names {
		i := p.StepIndex(name)
		if i < 0 || p.Steps[i].Backfill == nil {
			return nil, permanent("BadPlan", "an earlier run of plan %s has installed a sync trigger in its step %s, and the plan has no such backfill any more: put the step back, so that the trigger can be removed", p.Name, name)
		}
		if p.Steps[i].Backfill.Sync == "" {
			return nil, permanent("BadPlan", "an earlier run of plan %s has installed a sync trigger in its step %s, which asks for none any more: put sync back, so that the trigger can be removed", p.Name, name)
		}
		steps = append(steps, i)
	}
	return steps, nil
}
