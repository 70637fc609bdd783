package backfill

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// maxSweeps: one for the rows written while the lanes walked, one for those written during that, one to spare. Whoever still has
// rows left then has a condition that the change does not make untrue, or an application that keeps writing the old way.
const maxSweeps = 3

// Proof of a finished backfill.
type Proof struct {
	// Rows changed by all lanes in all sweeps.
	Rows int64
	// Sweeps that this call had to add for rows written meanwhile.
	Sweeps int
	// Rejects are rows set aside, MaxRejects at most.
	Rejects int64
	// Counted tells that no row matched the condition any more; without a condition the proof is that every lane was walked.
	Counted bool
}

// Remaining counts the rows that still match the condition, those set aside left out; 0 where the spec has no condition. It reads the whole table where no index
// helps, and sets no statement timeout for that: bound it with ctx.
func (e *Engine) Remaining(ctx context.Context, spec Spec) (int64, error) {
	t, err := e.resolve(ctx, spec)
	if err != nil {
		return 0, err
	}
	st := newStatements(t, spec.Where)
	rejects, err := e.forgive(ctx, spec, st)
	if err != nil || spec.Where == "" {
		return 0, e.failed(ctx, err)
	}
	query, args := st.remaining(), []any(nil)
	if rejects > 0 {
		query, args = st.remainingAside(), []any{spec.Plan, spec.Step}
	}
	var n int64
	var b pgx.Batch
	b.Queue(`select set_config('statement_timeout', '0', true)`)
	b.Queue(query, args...).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	err = e.pool.SendBatch(ctx, &b).Close()
	return n, e.failed(ctx, rowError(spec.name()+": count the rows that remain", err))
}

// Finish proves that the backfill is done. Reports of several lanes come one after the other. It walks the lanes that are not, counts the rows that still match the condition and,
// while there are any, walks all lanes again; ErrRemaining when that does not help. A proven backfill is on disk.
// Without a condition nothing can be counted: then every lane walked to its end is the proof, and rows inserted behind a
// cursor are not part of it.
func (e *Engine) Finish(ctx context.Context, spec Spec, o LaneOptions) (Proof, error) {
	for sweep := 0; ; {
		if err := e.walk(ctx, spec, o); err != nil {
			return Proof{}, err
		}
		left, err := e.Remaining(ctx, spec)
		if err != nil {
			return Proof{}, err
		}
		if left == 0 {
			proof, done, err := e.seal(ctx, spec)
			if err == nil && !done {
				continue // a helper has split a lane meanwhile
			}
			proof.Sweeps, proof.Counted = sweep, spec.Where != ""
			return proof, err
		}
		if sweep == maxSweeps {
			return Proof{}, fmt.Errorf("%s: %w: %d after %d more sweeps; either set does not make the condition untrue for them (it may yield null), or the application still writes such rows",
				spec.name(), ErrRemaining, left, sweep)
		}
		if err := e.rewind(ctx, spec); err != nil {
			return Proof{}, err
		}
		sweep++
	}
}

// walk runs the lanes that are not done, as many at once as the backfill has lanes. The first that fails ends all.
func (e *Engine) walk(ctx context.Context, spec Spec, o LaneOptions) error {
	all, err := lanes(ctx, e.pool, spec)
	if err != nil {
		return e.failed(ctx, rowError(spec.name()+": read its checkpoints", err))
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: %w", spec.name(), ErrNotPrepared)
	}
	atOnce := spec.Lanes
	if atOnce == 0 {
		target, err := e.Inspect(ctx, spec)
		if err != nil {
			return err
		}
		atOnce = target.Lanes
	}
	if report := o.Report; report != nil {
		var mu sync.Mutex
		o.Report = func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			report(p)
		}
	}
	walking, ctx := errgroup.WithContext(ctx)
	walking.SetLimit(atOnce)
	for _, l := range all {
		if !l.Done {
			walking.Go(func() error {
				_, err := e.RunLane(ctx, spec, l.Lane, o)
				return err
			})
		}
	}
	return walking.Wait()
}

// forgive forgets the rows set aside that need nothing any more, because they are gone or do not match the condition, and counts
// the others. Where the condition itself fails on such a row, all stay.
func (e *Engine) forgive(ctx context.Context, spec Spec, s statements) (rejects int64, err error) {
	doing := spec.name() + ": look at the rows set aside"
	query := "select count(*) from contraflow.backfill_reject where plan = $1 and step = $2"
	if err := e.pool.QueryRow(ctx, query, spec.Plan, spec.Step).Scan(&rejects); err != nil || rejects == 0 {
		return 0, rowError(doing, err)
	}
	_, err = e.pool.Exec(ctx, s.forgive(), spec.Plan, spec.Step)
	if err = rowError(doing, err); err != nil {
		if _, _, ok := refused(err); ok {
			return rejects, nil
		}
		return 0, err
	}
	return rejects, rowError(doing, e.pool.QueryRow(ctx, query, spec.Plan, spec.Step).Scan(&rejects))
}

// rewind sends the lanes back to their beginnings, and fences whoever may still walk them. Rows set aside are met again.
func (e *Engine) rewind(ctx context.Context, spec Spec) error {
	err := pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `update contraflow.backfill_lane
			set cursor = null, scanned = 0, done_at = null, sweep = sweep + 1, fence = nextval('contraflow.backfill_fence'), changed_at = now()
			where plan = $1 and step = $2 and hash = $3`, spec.Plan, spec.Step, spec.Hash()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from contraflow.backfill_reject where plan = $1 and step = $2", spec.Plan, spec.Step)
		return err
	})
	return e.failed(ctx, rowError(spec.name()+": begin another sweep", err))
}

// seal commits synchronously, which brings all earlier commits to disk too, and sums up. It is not done where a lane is not.
func (e *Engine) seal(ctx context.Context, spec Spec) (proof Proof, done bool, err error) {
	var lanes, open int
	var b pgx.Batch
	b.Queue(commitSettings, true)
	b.Queue(`with sealed as (update contraflow.backfill_lane set changed_at = now() where plan = $1 and step = $2 and hash = $3 returning rows, done_at)
		select coalesce(sum(rows), 0)::bigint, (select count(*) from contraflow.backfill_reject where plan = $1 and step = $2),
			count(*), count(*) - count(done_at) from sealed`,
		spec.Plan, spec.Step, spec.Hash()).QueryRow(func(row pgx.Row) error {
		return row.Scan(&proof.Rows, &proof.Rejects, &lanes, &open)
	})
	err = e.pool.SendBatch(ctx, &b).Close()
	switch {
	case err != nil:
		return Proof{}, false, e.failed(ctx, rowError(spec.name()+": bring it to disk", err))
	case lanes == 0:
		return Proof{}, false, fmt.Errorf("%s: %w", spec.name(), ErrNotPrepared)
	}
	return proof, open == 0, spec.tolerates(int(proof.Rejects))
}
