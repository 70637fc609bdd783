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
	lanes int // still to walk, who share the cap and the speed
	rank  int // of this lane among them; it moves on with the clock, see rotation
	fence int64
	cut   int
	// rejects set aside by all lanes
	rejects int

	speed          float64   // under protect: lanes' worth of work that may run; 0: not chosen yet
	held           string    // the throttles that hold, and readings that cannot be taken; empty while none does
	age            float64   // seconds since a lane last set out to take the readings; negative while one does
	asOf           time.Time // when age was read, by our own clock
	now            time.Time // by the server's clock
	rows, vacuumed int64     // changed by all lanes, now and when the table was last vacuumed
}

const (
	// rotation is how long a lane keeps its rank. The share that protect leaves goes round, so that a lane whose worker is gone
	// cannot keep it from the others; each turn costs up to a holdPoll, which is little of it.
	rotation = 5 * time.Second
	// HoldingWindow begins the text of a lane that holds outside its time windows.
	HoldingWindow = "outside its time window"
	// HoldingProtect begins the text of a lane that holds because others, or rests, use up what Protect allows.
	HoldingProtect = "protect"
	// holdingUnread is the text while the readings are older than they can be while lanes take them.
	holdingUnread = "readings are out of date"
)

// queueControl reads the control row, the readings and the lane's token along with other statements. Ages are differences of
// epochs, for timestamps that are infinite cannot be subtracted.
func (a *attempt) queueControl(b *pgx.Batch) {
	b.Queue(`select coalesce(c.paused, false), coalesce(c.rows_per_second, 0), coalesce(c.speed, 0)::float8, coalesce(c.vacuumed, 0),
		coalesce(k.now - extract(epoch from c.read_at)::float8, 'infinity'), to_timestamp(k.now),
		l.lanes, case when l.lanes = 0 then 0 else (l.before + floor(k.now / $4::float8)::bigint) % l.lanes end, l.fence, l.cut, l.rows,
		case when abs(r.age) > $5::float8 then $6::text else r.held end,
		(select count(*) from contraflow.backfill_reject r where r.plan = k.plan and r.step = k.step)
		from (select $1::text as plan, $2::text as step, extract(epoch from clock_timestamp())::float8 as now) k
		left join contraflow.backfill_control c on c.plan = k.plan and c.step = k.step
		cross join lateral (select count(*) filter (where done_at is null) as lanes,
			count(*) filter (where done_at is null and lane < $3) as before, coalesce(sum(rows), 0)::bigint as rows,
			coalesce(max(fence) filter (where lane = $3), 0) as fence, coalesce(max(cut) filter (where lane = $3), 0) as cut
			from contraflow.backfill_lane l where l.plan = k.plan and l.step = k.step) l
		cross join lateral (select coalesce(string_agg(message, '; ' order by name) filter (where holding), '') as held,
			coalesce(k.now - extract(epoch from min(read_at))::float8, 'infinity') as age
			from contraflow.backfill_reading r where r.plan = k.plan and r.step = k.step) r`,
		a.spec.Plan, a.spec.Step, a.lane, rotation.Seconds(), a.spec.outOfDate(), holdingUnread).QueryRow(func(row pgx.Row) error {
		c := &a.control
		c.asOf = time.Now()
		return row.Scan(&c.Paused, &c.RowsPerSecond, &c.speed, &c.vacuumed, &c.age, &c.now, &c.lanes, &c.rank, &c.fence, &c.cut, &c.rows, &c.held, &c.rejects)
	})
}

// share of the cap that falls to this lane, in rows per second; 0 for no cap.
func (a *attempt) share() float64 {
	rows := a.control.RowsPerSecond
	if rows == 0 {
		rows = a.spec.RowsPerSecond
	}
	lanes := a.control.lanes
	if made := a.spec.Lanes; made > 0 {
		lanes = min(lanes, made) // more than that are left by helpers of an earlier run, and not walked at once
	}
	return float64(max(rows, 0)) / float64(max(lanes, 1))
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
	if a.control.Paused {
		return HoldingPaused
	}
	if open, next := openAt(a.spec.Windows, a.control.now); !open {
		return HoldingWindow + until(next)
	}
	share := a.share()
	switch {
	case a.control.held != "":
		return a.control.held
	case a.resting() > 0:
		return a.spec.Protect.holding()
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
