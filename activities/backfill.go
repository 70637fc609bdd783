package activities

import (
	"context"
	"strings"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/signals"
)

// opened is a backfill's database, and what is to be done in the engine's terms.
func (a *Activities) opened(ctx context.Context, in BackfillInput) (*Database, backfill.Spec, error) {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return nil, backfill.Spec{}, err
	}
	spec, err := a.spec(db, in.Origin, in.Backfill)
	return db, spec, err
}

// PrepareBackfill splits the table into lanes, or finds those of an earlier run.
func (a *Activities) PrepareBackfill(ctx context.Context, in BackfillInput) (BackfillPrepared, error) {
	defer beat(ctx, nothing)()
	db, spec, err := a.opened(ctx, in)
	if err != nil {
		return BackfillPrepared{}, fail(ctx, err)
	}
	engine := a.engine(db.backfill)
	run, err := engine.Prepare(ctx, spec)
	if err != nil {
		return BackfillPrepared{}, fail(ctx, err)
	}
	if in.Control != nil {
		if err := a.control(ctx, db, in.Origin, *in.Control); err != nil {
			return BackfillPrepared{}, fail(ctx, err)
		}
	}
	atOnce := spec.Lanes
	if atOnce == 0 {
		target, err := engine.Inspect(ctx, spec)
		if err != nil {
			return BackfillPrepared{}, fail(ctx, err)
		}
		atOnce = target.Lanes
	}
	prepared := BackfillPrepared{Lanes: unwalked(run, atOnce), Total: run.Total, Resumed: run.Resumed, Restarted: run.StaleHash}
	return prepared, fail(ctx, audit(ctx, db, in.Origin, "backfill", "prepared"))
}

// unwalked are the lanes to begin with. An earlier run whose lanes have helped each other has left more than may be walked at
// once: those that are done go on with the rest.
func unwalked(run backfill.Run, atOnce int) []int {
	var lanes []int
	for _, lane := range run.Lanes {
		if !lane.Done && len(lanes) < max(atOnce, 1) {
			lanes = append(lanes, lane.Lane)
		}
	}
	return lanes
}

// BackfillLane walks one lane to its end, then helps with what others have left. The cursor in the target database is the
// truth; heartbeats are for people.
func (a *Activities) BackfillLane(ctx context.Context, in BackfillInput) (LaneDone, error) {
	options, stop := a.reporting(ctx, in)
	defer stop()
	db, spec, err := a.opened(ctx, in)
	if err != nil {
		return LaneDone{}, fail(ctx, err)
	}
	options.Help = true
	lane, err := a.engine(db.backfill).RunLane(ctx, spec, in.Lane, options)
	return LaneDone{Rows: lane.Rows}, fail(ctx, err)
}

// ProveBackfill counts afresh that no row is left, and sweeps again for rows written meanwhile.
func (a *Activities) ProveBackfill(ctx context.Context, in BackfillInput) (BackfillProven, error) {
	options, stop := a.reporting(ctx, in)
	defer stop()
	db, spec, err := a.opened(ctx, in)
	if err != nil {
		return BackfillProven{}, fail(ctx, err)
	}
	proof, err := a.engine(db.backfill).Finish(ctx, spec, options)
	if err != nil {
		return BackfillProven{}, fail(ctx, err)
	}
	return BackfillProven{Rows: proof.Rows, Rejects: proof.Rejects}, fail(ctx, audit(ctx, db, in.Origin, "backfill", "proven"))
}

// ControlBackfill writes the control row, which every lane reads with every chunk. It does so beside the lanes' pool, all of
// whose connections they may hold, and beside statements that take long.
func (a *Activities) ControlBackfill(ctx context.Context, in ControlInput) error {
	defer beat(ctx, nothing)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	return fail(ctx, a.control(ctx, db, in.Origin, in.Control))
}

func (a *Activities) control(ctx context.Context, db *Database, o Origin, c Control) error {
	return a.engine(db.control).SetControl(ctx, o.Plan, o.Step, backfill.Control{Paused: c.Paused, RowsPerSecond: c.RowsPerSecond})
}

// ResetBackfill forgets the checkpoints; when it returns, no attempt that still runs can change a row.
func (a *Activities) ResetBackfill(ctx context.Context, in BackfillInput) error {
	defer beat(ctx, nothing)()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return fail(ctx, err)
	}
	if err := a.engine(db.pool).Reset(ctx, in.Origin.Plan, in.Origin.Step); err != nil {
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
		earlier.RowsPerSecond, earlier.ScannedPerSecond, earlier.Holding, earlier.Paced = 0, 0, "", false
		progress.set(earlier)
	}
	options := backfill.LaneOptions{Stop: activity.GetWorkerStopChannel(ctx), Report: func(p backfill.Progress) {
		progress.set(signals.Progress{Step: in.Origin.Step, Lane: p.Lane, Rows: p.Rows, Scanned: p.Scanned, Total: p.Total,
			RowsPerSecond: p.RowsPerSecond, ScannedPerSecond: p.ScannedPerSecond, ChunkRows: int(p.ChunkRows), Holding: p.Holding, Paced: paced(p.Holding)})
	}}
	return options, beat(ctx, progress.details)
}

// paced tells the reasons for which a lane only rests between two chunks.
func paced(holding string) bool {
	return holding == backfill.HoldingCap || holding == backfill.HoldingVacuum || strings.HasPrefix(holding, backfill.HoldingProtect)
}
