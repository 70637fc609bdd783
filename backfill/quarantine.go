package backfill

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// hopelessTries at a chunk of one row that runs into the statement timeout every time: the row itself is what takes so long.
const hopelessTries = 3

// bisected is the size of the next chunk while a refused row is searched for: half of the rows among which it is.
func (a *attempt) bisected(limit int64) int64 {
	if a.suspects > 0 {
		return min(limit, max(1, a.suspects/2))
	}
	return limit
}

// refusable tells whether a chunk failed because of a row's values: of one that is refused, or of one over which no statement
// ends in time, however often it is tried.
func (a *attempt) refusable(err error, limit int64, end []string) bool {
	statement, is := errors.AsType[*StatementError](err)
	if is && statement.Code == "57014" {
		return a.spec.MaxRejects > 0 && limit == 1 && end != nil && a.lost >= hopelessTries
	}
	_, _, ok := refused(err)
	return ok
}

// refuse narrows the chunk down to the row whose new values are refused, and sets that row aside.
func (a *attempt) refuse(ctx context.Context, err error, end []string, limit int64) error {
	if end != nil && limit == 1 {
		return a.setAside(ctx, end, err)
	}
	a.suspects = max(1, limit)
	if limit > 1 {
		return nil
	}
	// No row, or one that has come in between. Whoever refuses an empty range refuses all of them: a trigger for each statement.
	if a.lost++; a.lost > hopelessTries {
		return err
	}
	return a.wait(ctx, backoff(a.lost))
}

// refused tells whether an error is about a row's values, by its SQLSTATE: cardinality and data exceptions, violated constraints
// and check options, what a trigger raises, and values too big for an index.
func refused(err error) (code, message string, ok bool) {
	if row, is := errors.AsType[*RowError](err); is {
		return "transform", row.Error(), true
	}
	statement, is := errors.AsType[*StatementError](err)
	if !is {
		return "", "", false
	}
	switch statement.class() {
	case "21", "22", "23", "44", "P0":
		ok = true
	}
	ok = ok || statement.Code == "54000" || statement.Code == "57014"
	return statement.Code, statement.summary(), ok
}

// setAside records the row and moves the cursor past it, both or neither.
func (a *attempt) setAside(ctx context.Context, key []string, why error) error {
	if alone, err := a.alone(ctx, key); !alone || err != nil {
		return err
	}
	code, message, _ := refused(why)
	args := append([]any{a.spec.Hash(), key, code, message}, a.advanceArgs(key, false, 1)...)
	var rejects int
	var b pgx.Batch
	b.Queue(commitSettings, true)
	b.Queue(`with rejected as (
			insert into contraflow.backfill_reject as r (plan, step, hash, key, code, message) values ($5, $6, $1, $2, $3, $4)
			on conflict (plan, step, key) do update set hash = $1, code = $3, message = $4, tries = r.tries + 1, rejected_at = clock_timestamp()
			returning 1)
		select a.rows, a.scanned from (select count(*) from rejected) r,
			contraflow.backfill_advance($5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, $15) a`, args...).
		QueryRow(func(row pgx.Row) error { return row.Scan(&a.progress.Rows, &a.progress.Scanned) })
	b.Queue("select count(*) from contraflow.backfill_reject where plan = $1 and step = $2", a.spec.Plan, a.spec.Step).
		QueryRow(func(row pgx.Row) error { return row.Scan(&rejects) })
	err := rowError(a.doing("set a row aside"), a.conn.SendBatch(ctx, &b).Close())
	if errors.Is(err, errShortened) {
		return a.shorten(ctx)
	}
	if err != nil {
		return err
	}
	a.left.lower, a.lost = key, 0
	a.suspects = max(0, a.suspects-1)
	a.report("")
	if err := a.spec.tolerates(rejects); err != nil {
		return fmt.Errorf("%w; the last one: %w", err, why)
	}
	return nil
}

// alone tells whether key is the only one up to itself. Another may have come in since it was found, and be the refused one.
func (a *attempt) alone(ctx context.Context, key []string) (bool, error) {
	var rows int
	err := a.conn.QueryRow(ctx, a.statements.count(keyRange{a.left.lower, key}), a.left.lower, key, 2).Scan(&rows)
	return rows < 2, rowError(a.doing("look for the row that is refused"), err)
}

// tolerates tells whether so many rejects are within MaxRejects.
func (s Spec) tolerates(rejects int) error {
	if rejects <= s.MaxRejects {
		return nil
	}
	return fmt.Errorf("%s: %w: %d, and %d may be; table contraflow.backfill_reject lists them", s.name(), ErrRejects, rejects, s.MaxRejects)
}
