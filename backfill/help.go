package backfill

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

const (
	// worthSplitting is how many chunks a lane must have left before another takes half of them: the one under way is lost.
	worthSplitting = 4
	// countableRows are quicker counted off in the index than sampled from the whole table.
	countableRows = 200_000
	// middleSample rows of what a lane has left find its middle within some percent.
	middleSample = 10_000
	// laneLock is the key of the advisory lock of a lane that is walked; parameters $1 to $3 are plan, step and lane.
	laneLock = "hashtextextended('contraflow.lane ' || $1::text || ' ' || $2::text || ' ' || $3::integer, 0)"
)

// help walks what other lanes have left, until nothing is left that is worth it. That another attempt takes a lane back is no
// failure here: whoever it belongs to has come.
func (a *attempt) help(ctx context.Context) error {
	for {
		a.helped.count(a.progress, 1)
		a.helped.count(a.found, -1)
		a.progress, a.found = Progress{Lane: a.progress.Lane}, Progress{}
		lane, found, err := a.takeOver(ctx)
		if err != nil || !found {
			return err
		}
		a.helping = true
		_, err = a.walk(ctx, lane)
		switch {
		case errors.Is(err, ErrFenced), errors.Is(err, ErrNotPrepared):
			a.progress, a.found = Progress{Lane: a.progress.Lane}, Progress{} // whoever has the lane now counts it
		case err != nil:
			return err
		}
	}
}

// behind is a lane that is not done.
type behind struct {
	Lane      int
	From      []string // cursor
	To        []string
	Remaining int64
	ChunkRows int64
}

// takeOver finds a lane that nobody walks, or makes one of the second half of the lane that has most left.
func (a *attempt) takeOver(ctx context.Context) (lane int, found bool, err error) {
	err = pgx.BeginFunc(ctx, a.conn, func(tx pgx.Tx) error {
		found = false
		if _, err := tx.Exec(ctx, lockBackfill, a.spec.Plan, a.spec.Step); err != nil {
			return err
		}
		lanes, err := a.unfinished(ctx, tx)
		if err != nil {
			return err
		}
		for _, l := range lanes {
			var free bool
			if err := tx.QueryRow(ctx, "select pg_try_advisory_xact_lock("+laneLock+")", a.spec.Plan, a.spec.Step, l.Lane).Scan(&free); err != nil {
				return err
			}
			if free {
				lane, found = l.Lane, true
				return nil
			}
		}
		if len(lanes) == 0 {
			return nil
		}
		lane, found, err = a.split(ctx, tx, lanes[0].Lane)
		return err
	})
	if _, contended := contention(rowError("", err)); contended {
		return 0, false, nil // the lane moves on well without help
	}
	return lane, found, rowError(a.doing("look for lanes to help"), err)
}

func (a *attempt) unfinished(ctx context.Context, tx pgx.Tx) ([]behind, error) {
	rows, err := tx.Query(ctx, `select lane, coalesce(cursor, lower_key), upper_key, greatest(total - scanned, 0), chunk_rows
		from contraflow.backfill_lane where plan = $1 and step = $2 and hash = $3 and done_at is null order by 4 desc, 1`,
		a.spec.Plan, a.spec.Step, a.spec.Hash())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[behind])
}

// split moves the end of a lane to its middle, and makes a new lane of the rest. The lane's attempt sees that its cut has
// changed, at the latest when it tries to commit a chunk; that chunk is rolled back and walked again.
func (a *attempt) split(ctx context.Context, tx pgx.Tx, lane int) (part int, found bool, err error) {
	var l behind
	err = tx.QueryRow(ctx, `select lane, coalesce(cursor, lower_key), upper_key, greatest(total - scanned, 0), chunk_rows
		from contraflow.backfill_lane where plan = $1 and step = $2 and lane = $3 and hash = $4 and done_at is null for update`,
		a.spec.Plan, a.spec.Step, lane, a.spec.Hash()).Scan(&l.Lane, &l.From, &l.To, &l.Remaining, &l.ChunkRows)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, false, nil
	}
	if err != nil || l.ChunkRows == 0 || l.Remaining < worthSplitting*l.ChunkRows {
		return 0, false, err
	}
	middle, err := a.middle(ctx, tx, l)
	if err != nil || middle == nil {
		return 0, false, err
	}
	half := l.Remaining / 2
	err = tx.QueryRow(ctx, `with shorter as (
			update contraflow.backfill_lane set upper_key = $5, cut = cut + 1, total = total - $6
			where plan = $1 and step = $2 and lane = $3 returning target, hash, chunk_rows, sweep)
		insert into contraflow.backfill_lane (plan, step, lane, target, hash, lower_key, upper_key, total, chunk_rows, sweep)
		select $1, $2, (select max(lane) + 1 from contraflow.backfill_lane where plan = $1 and step = $2), target, hash, $5, $4, $6, chunk_rows, sweep
		from shorter returning lane`, a.spec.Plan, a.spec.Step, lane, l.To, middle, half).Scan(&part)
	return part, err == nil, err
}

// middle is the key in the middle of what a lane has left; nil when there is none.
func (a *attempt) middle(ctx context.Context, tx pgx.Tx, l behind) (key []string, err error) {
	left := keyRange{lower: l.From, upper: l.To}
	var b pgx.Batch
	b.Queue(probeSettings, milliseconds(probeTimeout(0)))
	if l.Remaining > countableRows {
		percent := 100 * float64(middleSample) / float64(l.Remaining)
		b.Queue(a.statements.middle(left), l.From, l.To, percent)
	} else {
		b.Queue(a.statements.probe(left), l.From, l.To, l.Remaining/2)
	}
	results := tx.SendBatch(ctx, &b)
	_, err = results.Exec()
	if err == nil {
		err = results.QueryRow().Scan(&key)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return key, errors.Join(err, results.Close())
}
