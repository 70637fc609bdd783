package activities

import (
	"context"
	"maps"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// PrepareBackfill splits the table into lanes, or finds those of an earlier run.
func (a *Activities) PrepareBackfill(ctx context.Context, in BackfillInput) (BackfillPrepared, error) {
	defer beat(ctx, nothing)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return BackfillPrepared{}, fail(ctx, err)
	}
	run, err := backfill.New(db.backfill).Prepare(ctx, spec(in.Origin, in.Backfill))
	if err != nil {
		return BackfillPrepared{}, fail(ctx, err)
	}
	if in.Control != nil {
		if err := control(ctx, db, in.Origin, *in.Control); err != nil {
			return BackfillPrepared{}, fail(ctx, err)
		}
	}
	prepared := BackfillPrepared{Total: run.Total, Resumed: run.Resumed, Restarted: run.StaleHash}
	for _, lane := range run.Lanes {
		prepared.Lanes = append(prepared.Lanes, lane.Lane)
	}
	return prepared, fail(ctx, audit(ctx, db, in.Origin, "backfill", "prepared"))
}

// BackfillLane walks one lane to its end. The cursor in the target database is the truth; heartbeats are for people.
func (a *Activities) BackfillLane(ctx context.Context, in BackfillInput) (LaneDone, error) {
	options, stop := a.reporting(ctx, in)
	defer stop()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return LaneDone{}, fail(ctx, err)
	}
	lane, err := backfill.New(db.backfill).RunLane(ctx, spec(in.Origin, in.Backfill), in.Lane, options)
	return LaneDone{Rows: lane.Rows}, fail(ctx, err)
}

// ProveBackfill counts afresh that no row is left, and sweeps again for rows written meanwhile.
func (a *Activities) ProveBackfill(ctx context.Context, in BackfillInput) (BackfillProven, error) {
	options, stop := a.reporting(ctx, in)
	defer stop()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return BackfillProven{}, fail(ctx, err)
	}
	proof, err := backfill.New(db.backfill).Finish(ctx, spec(in.Origin, in.Backfill), options)
	if err != nil {
		return BackfillProven{}, fail(ctx, err)
	}
	return BackfillProven{Rows: proof.Rows}, fail(ctx, audit(ctx, db, in.Origin, "backfill", "proven"))
}

// ControlBackfill writes the control row, which every lane reads with every chunk. It does so beside the lanes' pool, all of
// whose connections they may hold.
func (a *Activities) ControlBackfill(ctx context.Context, in ControlInput) error {
	defer beat(ctx, nothing)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	return fail(ctx, control(ctx, db, in.Origin, in.Control))
}

func control(ctx context.Context, db *Database, o Origin, c Control) error {
	return backfill.New(db.pool).SetControl(ctx, o.Plan, o.Step, backfill.Control{Paused: c.Paused, RowsPerSecond: c.RowsPerSecond})
}

// ResetBackfill forgets the checkpoints; when it returns, no attempt that still runs can change a row.
func (a *Activities) ResetBackfill(ctx context.Context, in BackfillInput) error {
	defer beat(ctx, nothing)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	if err := backfill.New(db.pool).Reset(ctx, in.Origin.Plan, in.Origin.Step); err != nil {
		return fail(ctx, err)
	}
	return fail(ctx, audit(ctx, db, in.Origin, "backfill", "reset"))
}

// reporting heartbeats the lane's progress, and ends the lane between two chunks when the worker stops.
func (a *Activities) reporting(ctx context.Context, in BackfillInput) (backfill.LaneOptions, func()) {
	var progress latest[signals.Progress]
	progress.set(signals.Progress{Step: in.Origin.Step, Lane: in.Lane, Total: in.Total})
	var earlier signals.Progress // of the attempt before: until this one has news, people see how far that came
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &earlier) == nil {
		earlier.RowsPerSecond, earlier.Holding = 0, ""
		progress.set(earlier)
	}
	options := backfill.LaneOptions{Stop: activity.GetWorkerStopChannel(ctx), Report: func(p backfill.Progress) {
		progress.set(signals.Progress{Step: in.Origin.Step, Lane: p.Lane, Rows: p.Rows, Scanned: p.Scanned, Total: p.Total,
			RowsPerSecond: p.RowsPerSecond, ChunkRows: int(p.ChunkRows), Holding: p.Holding})
	}}
	return options, beat(ctx, progress.details)
}

// spec is the plan's backfill in the engine's terms.
func spec(o Origin, b plan.Backfill) backfill.Spec {
	s := backfill.Spec{Plan: o.Plan, Step: o.Step, Table: b.Table, Key: b.Key, Where: b.Where,
		Lanes: b.Lanes, ChunkTime: b.ChunkTime.Std(), RowsPerSecond: b.RowsPerSecond}
	for _, column := range slices.Sorted(maps.Keys(b.Set)) {
		s.Set = append(s.Set, backfill.Assignment{Column: column, Expr: b.Set[column]})
	}
	return s
}
