package backfill

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
)

// NoCap as Control.RowsPerSecond lifts the spec's cap.
const NoCap = -1

// Control is what a person lets a backfill do.
type Control struct {
	// Paused holds every lane before its next chunk.
	Paused bool
	// RowsPerSecond changed at most by all lanes together; 0 means as the spec says, NoCap none.
	RowsPerSecond int
}

// SetControl acts on all lanes within one chunk. It may come before Prepare, and its row may be changed from psql as well
// (table contraflow.backfill_control).
func (e *Engine) SetControl(ctx context.Context, plan, step string, c Control) error {
	if c.RowsPerSecond < NoCap || c.RowsPerSecond > math.MaxInt32 {
		return fmt.Errorf("%w: %d rows per second; give a number from 1 to 2147483647, or 0 for the plan's, or %d for no cap", ErrSpec, c.RowsPerSecond, NoCap)
	}
	_, err := e.pool.Exec(ctx, `insert into contraflow.backfill_control (plan, step, paused, rows_per_second) values ($1, $2, $3, $4)
		on conflict (plan, step) do update set paused = excluded.paused, rows_per_second = excluded.rows_per_second`,
		plan, step, c.Paused, c.RowsPerSecond)
	return e.failed(ctx, rowError(fmt.Sprintf("control backfill step %q of plan %q", step, plan), err))
}

// control is what a lane may do, as last read.
type control struct {
	Control
	lanes int   // still walking, who share the cap
	fence int64 // the lane's token; 0 when the lane is gone
}

// queueControl reads the control row and the lane's token along with other statements.
func (a *attempt) queueControl(b *pgx.Batch) {
	b.Queue(`select coalesce(c.paused, false), coalesce(c.rows_per_second, 0),
		(select count(*) from contraflow.backfill_lane l where l.plan = k.plan and l.step = k.step and l.done_at is null),
		coalesce((select fence from contraflow.backfill_lane l where l.plan = k.plan and l.step = k.step and l.lane = $3), 0)
		from (select $1::text as plan, $2::text as step) k left join contraflow.backfill_control c on c.plan = k.plan and c.step = k.step`,
		a.spec.Plan, a.spec.Step, a.lane).QueryRow(func(row pgx.Row) error {
		return row.Scan(&a.control.Paused, &a.control.RowsPerSecond, &a.control.lanes, &a.control.fence)
	})
}

// share of the cap that falls to this lane, in rows per second; 0 for no cap.
func (a *attempt) share() float64 {
	rows := a.control.RowsPerSecond
	if rows == 0 {
		rows = a.spec.RowsPerSecond
	}
	return float64(max(rows, 0)) / float64(max(a.control.lanes, 1))
}

// limit is how many rows the next chunk may walk: under a cap no more than a second's worth.
func (a *attempt) limit() int64 {
	if share := a.share(); share > 0 {
		return int64(max(1, min(float64(a.pace.rows), share)))
	}
	return int64(a.pace.rows)
}

// holding says what keeps the lane from its next chunk.
func (a *attempt) holding() string {
	switch share := a.share(); {
	case a.control.Paused:
		return HoldingPaused
	case share > 0 && time.Since(a.began) < owed(a.changed, share):
		return HoldingCap
	}
	return ""
}

// owed is how long a chunk has to last under a cap. A chunk from before the cap counts for a second, not for the hours its
// rows may be worth.
func owed(rows int64, share float64) time.Duration {
	seconds := min(float64(rows)/share, max(1, 1/share))
	return time.Duration(seconds * float64(time.Second))
}
