package backfill

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Progress of one lane. It holds no key values.
type Progress struct {
	Lane int
	// Rows changed so far, by all attempts together.
	Rows int64
	// Scanned rows walked over in this sweep, of about Total.
	Scanned, Total int64
	// RowsPerSecond changed, smoothed over some seconds.
	RowsPerSecond float64
	// ChunkRows walked by the last chunk, ChunkTime it took.
	ChunkRows int64
	ChunkTime time.Duration
	// Holding says what the lane waits for; empty while it works.
	Holding string
}

// What a lane may wait for, besides back-off ("retry after lock timeout" and the like).
const (
	HoldingPaused = "paused"
	HoldingCap    = "rows per second"
)

// Overview is the progress of all lanes as their checkpoints tell it.
type Overview struct {
	Lanes, LanesDone int
	// Rows changed; Scanned walked over in the present sweep, of about Total.
	Rows, Scanned, Total int64
	// RowsPerSecond of the lanes that have moved within the last seconds.
	RowsPerSecond float64
	// Sweep is 1, or more once Finish walks again for rows written meanwhile; 0 before Prepare.
	Sweep int
	// Holding is HoldingPaused or empty.
	Holding string
}

// Overview reads the checkpoints of a spec, as cheap as its lanes are few.
func (e *Engine) Overview(ctx context.Context, spec Spec) (Overview, error) {
	rows, err := e.pool.Query(ctx, `
		select count(*), count(done_at), coalesce(sum(rows), 0)::bigint, coalesce(sum(scanned), 0)::bigint, coalesce(sum(total), 0)::bigint,
		       coalesce(sum(rows_per_second) filter (where done_at is null and changed_at > now() - interval '10 s'), 0)::float8,
		       coalesce(max(sweep), 0),
		       case when (select paused from contraflow.backfill_control c where c.plan = $1 and c.step = $2) then $4::text else '' end
		  from contraflow.backfill_lane where plan = $1 and step = $2 and hash = $3`, spec.Plan, spec.Step, spec.Hash(), HoldingPaused)
	if err != nil {
		return Overview{}, e.failed(ctx, rowError(spec.name()+": read its progress", err))
	}
	o, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Overview])
	return o, e.failed(ctx, rowError(spec.name()+": read its progress", err))
}
