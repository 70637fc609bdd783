package backfill

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/contraflow/contraflow/internal/pg"
)

// Run is a backfill whose checkpoints stand.
type Run struct {
	Lanes []Lane
	// Total rows to walk over, an estimate.
	Total int64
	// Resumed tells that an earlier attempt has already walked some of them.
	Resumed bool
	// StaleHash tells that checkpoints of a different spec under the same names, or of a table or columns that were made anew
	// since, were thrown away, so all begins afresh.
	StaleHash bool
}

// Lane is one contiguous range of keys.
type Lane struct {
	Lane int
	// Rows changed, Scanned walked over, Total to walk over (an estimate until Done).
	Rows, Scanned, Total int64
	Done                 bool
}

const (
	// sampledPages cut a table into eight parts that are within some 10 % of the mean. It takes that many, because the rows of a
	// page are often neighbours in the key too, and tell no more than one.
	sampledPages = 4_000
	// sampledRows of these pages are as good as all and sorted at once.
	sampledRows = 50_000
	// pageBytes is Postgres's default; where it is another, the sample is larger or smaller.
	pageBytes = 8 << 10
)

// lockBackfill serializes whoever makes or removes the checkpoints of one step.
const lockBackfill = `select pg_advisory_xact_lock(hashtextextended('contraflow.backfill ' || $1::text || ' ' || $2::text, 0))`

// Prepare inspects the spec, then finds its checkpoints or makes them. It may be called again and again, and by several at once.
func (e *Engine) Prepare(ctx context.Context, spec Spec) (Run, error) {
	target, t, err := e.inspect(ctx, spec)
	if err != nil {
		return Run{}, err
	}
	spec = spec.withDefaults()
	if spec.Lanes == 0 {
		spec.Lanes = target.Lanes
	}
	var run Run
	err = pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		run = Run{}
		if _, err := tx.Exec(ctx, lockBackfill, spec.Plan, spec.Step); err != nil {
			return err
		}
		stamp, err := t.stamp(ctx, tx)
		if err != nil {
			return err
		}
		stale, err := tx.Exec(ctx, "delete from contraflow.backfill_lane where plan = $1 and step = $2 and (hash, target) <> ($3, $4)",
			spec.Plan, spec.Step, spec.Hash(), stamp)
		if err != nil {
			return err
		}
		run.StaleHash = stale.RowsAffected() > 0
		if run.Lanes, err = lanes(ctx, tx, spec); err != nil {
			return err
		}
		if len(run.Lanes) == 0 {
			if err := makeLanes(ctx, tx, spec, newStatements(t, spec.Where), stamp, target); err != nil {
				return err
			}
			run.Lanes, err = lanes(ctx, tx, spec)
		}
		return err
	})
	for _, l := range run.Lanes {
		run.Total += l.Total
		run.Resumed = run.Resumed || l.Rows > 0 || l.Scanned > 0 || l.Done
	}
	if err != nil {
		return Run{}, e.failed(ctx, rowError(spec.name()+": prepare its checkpoints", err))
	}
	_, err = e.forgive(ctx, spec, newStatements(t, spec.Where))
	return run, e.failed(ctx, err)
}

func lanes(ctx context.Context, q pg.Querier, spec Spec) ([]Lane, error) {
	rows, err := q.Query(ctx, `select lane, rows, scanned, total, done_at is not null from contraflow.backfill_lane
		where plan = $1 and step = $2 and hash = $3 order by lane`, spec.Plan, spec.Step, spec.Hash())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Lane])
}

// makeLanes splits the keys, and makes the control row, so that pausing from psql is a plain update.
func makeLanes(ctx context.Context, tx pgx.Tx, spec Spec, s statements, stamp string, target Target) error {
	total := target.Rows
	cuts, err := split(ctx, tx, s, spec.Lanes, target)
	if err != nil {
		return err
	}
	var lower []string
	for lane := range len(cuts) + 1 {
		var upper []string // open at the end of the last lane
		if lane < len(cuts) {
			upper = cuts[lane]
		}
		if _, err := tx.Exec(ctx, `insert into contraflow.backfill_lane (plan, step, lane, target, hash, lower_key, upper_key, total)
			values ($1, $2, $3, $4, $5, $6, $7, $8)`, spec.Plan, spec.Step, lane, stamp, spec.Hash(), lower, upper, total/int64(len(cuts)+1)); err != nil {
			return err
		}
		lower = upper
	}
	_, err = tx.Exec(ctx, `insert into contraflow.backfill_control (plan, step, heap_bytes) values ($1, $2, $3)
		on conflict (plan, step) do update set speed = 0, base = 0, vacuumed = 0, heap_bytes = $3, growth = 0`, spec.Plan, spec.Step, target.Bytes)
	if err == nil {
		_, err = tx.Exec(ctx, "delete from contraflow.backfill_reject where plan = $1 and step = $2", spec.Plan, spec.Step)
	}
	return err
}

// split finds the keys between lanes; fewer than asked for on a small table.
func split(ctx context.Context, tx pgx.Tx, s statements, lanes int, target Target) ([][]string, error) {
	if lanes < 2 {
		return nil, nil
	}
	pages := min(1, sampledPages*pageBytes/float64(max(target.Bytes, 1)))
	rows := min(1, sampledRows/(pages*float64(max(target.Rows, 1))))
	if _, err := tx.Exec(ctx, splitSettings); err != nil {
		return nil, err
	}
	cuts, err := tx.Query(ctx, s.split(), 100*pages, lanes, rows)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(cuts, pgx.RowTo[[]string])
}

// Reset forgets a step's checkpoints, its readings and its control row; rejects stay for people to look at. When it returns, no attempt that is still running can change a row any
// more: each ends with ErrFenced. The rows changed so far stay as they are.
func (e *Engine) Reset(ctx context.Context, plan, step string) error {
	err := pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockBackfill, plan, step); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from contraflow.backfill_lane where plan = $1 and step = $2", plan, step); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from contraflow.backfill_reading where plan = $1 and step = $2", plan, step); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from contraflow.backfill_control where plan = $1 and step = $2", plan, step)
		return err
	})
	return e.failed(ctx, rowError(fmt.Sprintf("forget the checkpoints of backfill step %q of plan %q", step, plan), err))
}
