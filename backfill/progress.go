package backfill

import (
	"context"
	"time"
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
	// ScannedPerSecond walked over, smoothed likewise.
	ScannedPerSecond float64
	// ChunkRows walked by the last chunk, ChunkTime it took.
	ChunkRows int64
	ChunkTime time.Duration
	// Holding says what the lane waits for; empty while it works.
	Holding string
}

// count adds what q counts, or takes it away.
func (p *Progress) count(q Progress, sign int64) {
	p.Rows, p.Scanned, p.Total = p.Rows+sign*q.Rows, p.Scanned+sign*q.Scanned, p.Total+sign*q.Total
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
	// ETA is how long the rest of the present sweep takes at the present pace; 0 when that is not known, or nothing is left.
	ETA time.Duration
	// Rejects are rows set aside.
	Rejects int64
	// Holding is HoldingPaused or empty.
	Holding string
}

// Overview reads the checkpoints of a spec, as cheap as its lanes are few.
func (e *Engine) Overview(ctx context.Context, spec Spec) (Overview, error) {
	var o Overview
	var perSecond float64
	err := e.pool.QueryRow(ctx, `
		select count(*), count(done_at), coalesce(sum(rows), 0)::bigint, coalesce(sum(scanned), 0)::bigint, coalesce(sum(total), 0)::bigint,
		       coalesce(sum(rows_per_second) filter (where moving), 0)::float8, coalesce(sum(scanned_per_second) filter (where moving), 0)::float8,
		       coalesce(max(sweep), 0), (select count(*) from contraflow.backfill_reject where plan = $1 and step = $2),
		       case when (select paused from contraflow.backfill_control c where c.plan = $1 and c.step = $2) then $4::text else '' end
		  from (select *, done_at is null and changed_at > now() - interval '10 s' as moving from contraflow.backfill_lane) l
		 where plan = $1 and step = $2 and hash = $3`, spec.Plan, spec.Step, spec.Hash(), HoldingPaused).
		Scan(&o.Lanes, &o.LanesDone, &o.Rows, &o.Scanned, &o.Total, &o.RowsPerSecond, &perSecond, &o.Sweep, &o.Rejects, &o.Holding)
	if perSecond > 0 && o.Holding == "" {
		o.ETA = time.Duration(float64(max(0, o.Total-o.Scanned)) / perSecond * float64(time.Second))
	}
	return o, e.failed(ctx, rowError(spec.name()+": read its progress", err))
}
