package backfill

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Reject is a row that was set aside because its new values were refused.
type Reject struct {
	Step string
	// Key of the row, a value for each key column: these are values of rows, not for logs.
	Key []string
	// Code is the SQLSTATE, or "transform"; Message holds no values.
	Code, Message string
	// Tries at filling it, and At when the last one was made.
	Tries int
	At    time.Time
}

// Rejects lists the rows that a step has set aside, those of all steps of the plan for the step "". They are there also after
// a reset, until the step begins afresh.
func (e *Engine) Rejects(ctx context.Context, plan, step string) ([]Reject, error) {
	doing := fmt.Sprintf("read the rejects of plan %q", plan)
	rows, err := e.pool.Query(ctx, `select step, key, code, message, tries, rejected_at from contraflow.backfill_reject
		where plan = $1 and ($2 = '' or step = $2) order by step, rejected_at, key`, plan, step)
	if err != nil {
		return nil, e.failed(ctx, rowError(doing, err))
	}
	rejects, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Reject])
	return rejects, e.failed(ctx, rowError(doing, err))
}

// Retried counts what became of rejects. Those neither filled nor left needed nothing any more: the row is gone, or does not
// match the condition now.
type Retried struct{ Tried, Filled, Left int }

// RetryRejects tries the rows again that the spec has set aside, each in a transaction of its own. A reject that is refused
// again stays, with the new reason; every other one is forgotten. Whoever forgets a reject is the one that changes its row: of
// several calls at once, and of a step that begins afresh meanwhile, only one does. No checkpoint is asked for, because a
// completed migration has none any more. The error is about something else than the rows: a statement that can't run any more,
// or a connection. What was done before it stays done.
func (e *Engine) RetryRejects(ctx context.Context, spec Spec) (Retried, error) {
	var done Retried
	keys, err := e.rejected(ctx, spec)
	if err != nil || len(keys) == 0 {
		return done, err
	}
	_, t, err := e.inspect(ctx, spec) // a statement that is wrong for every row is no row's fault
	if err != nil {
		return done, err
	}
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return done, e.failed(ctx, rowError(spec.name()+": connect", err))
	}
	defer conn.Release()
	r := retrying{spec: spec, conn: conn, statements: newStatements(t, spec.Where), transform: t.transform}
	for _, key := range keys {
		ours, changed, err := r.row(ctx, key)
		filled := err == nil && changed > 0
		left := false
		if code, message, is := refused(err); is && ctx.Err() == nil {
			left, err = r.refuse(ctx, key, code, message)
			ours = left
		}
		switch {
		case err != nil:
			return done, e.failed(ctx, err)
		case !ours:
			continue // somebody else has dealt with it meanwhile
		case filled:
			done.Filled++
		case left:
			done.Left++
		}
		done.Tried++
	}
	return done, nil
}

// rejected are the keys of the rows that the spec has set aside.
func (e *Engine) rejected(ctx context.Context, spec Spec) ([][]string, error) {
	doing := spec.name() + ": read its rejects"
	rows, err := e.pool.Query(ctx, "select key from contraflow.backfill_reject where plan = $1 and step = $2 and hash = $3 order by key",
		spec.Plan, spec.Step, spec.Hash())
	if err != nil {
		return nil, e.failed(ctx, rowError(doing, err))
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	return keys, e.failed(ctx, rowError(doing, err))
}

// retrying is one pass over the rejects of a spec.
type retrying struct {
	spec       Spec
	conn       *pgxpool.Conn
	statements statements
	transform  *transformed // nil for expressions
}

// row forgets that one row was rejected, and fills it: both or neither. Forgetting comes first: it tells whether the reject is
// ours, and makes others wait who would fill the row as well.
func (r retrying) row(ctx context.Context, key []string) (ours bool, changed int64, err error) {
	doing := r.spec.name() + ": try a reject again"
	var function error // of the transform, which speaks for itself
	err = pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "delete from contraflow.backfill_reject where plan = $1 and step = $2 and key = $3 and hash = $4",
			r.spec.Plan, r.spec.Step, key, r.spec.Hash())
		ours = tag.RowsAffected() > 0
		if err != nil || !ours {
			return err
		}
		if r.transform != nil {
			changed, function, err = r.compute(ctx, tx, key)
			return errors.Join(err, function)
		}
		tag, err = tx.Exec(ctx, r.statements.fillOne(), key)
		changed = tag.RowsAffected()
		return err
	})
	if function != nil {
		return ours, 0, fmt.Errorf("%s: %w", doing, function)
	}
	return ours, changed, rowError(doing, err)
}

// compute has the transform fill one row.
func (r retrying) compute(ctx context.Context, tx pgx.Tx, key []string) (changed int64, function, err error) {
	one := r.statements
	one.where = r.statements.thisOne()
	if _, err := tx.Exec(ctx, idleSettings, milliseconds(transformIdle)); err != nil {
		return 0, nil, err
	}
	found, err := tx.Query(ctx, one.batch(keyRange{}, r.transform), key, nil)
	if err != nil {
		return 0, nil, err
	}
	defer found.Close()
	var keys, rows [][]any
	for found.Next() {
		values, err := r.transform.decode(found)
		if err != nil {
			return 0, nil, err
		}
		n := len(r.transform.key)
		keys, rows = append(keys, values[:n:n]), append(rows, values[n:])
	}
	if err := found.Err(); err != nil || len(rows) == 0 {
		return 0, nil, err
	}
	answer, function := r.transform.call(ctx, rows)
	if function != nil {
		return 0, function, nil
	}
	values, function := r.transform.columns(keys, answer)
	if function != nil {
		return 0, function, nil
	}
	tag, err := tx.Exec(ctx, r.statements.writeOne(r.transform), append([]any{key}, values[len(r.transform.key):]...)...)
	return tag.RowsAffected(), nil, err
}

// refuse keeps the newest reason, where the reject is still there.
func (r retrying) refuse(ctx context.Context, key []string, code, message string) (left bool, err error) {
	tag, err := r.conn.Exec(ctx, `update contraflow.backfill_reject
		set code = $5, message = $6, tries = tries + 1, rejected_at = clock_timestamp()
		where plan = $1 and step = $2 and key = $3 and hash = $4`, r.spec.Plan, r.spec.Step, key, r.spec.Hash(), code, message)
	return tag.RowsAffected() > 0, rowError(r.spec.name()+": keep the reason of a reject", err)
}

// thisOne is the condition of the row whose key is text[] parameter $1, as long as it is still to be changed.
func (s statements) thisOne() string {
	condition := fmt.Sprintf("(%s) = (%s)", s.columns(), strings.Join(s.end(1), ", "))
	if s.where != "" {
		condition += " and (\n" + s.where + "\n)"
	}
	return condition
}

func (s statements) fillOne() string {
	return fmt.Sprintf("update %s set %s where %s", s.table, s.set, s.thisOne())
}

// writeOne assigns the first value of each further parameter.
func (s statements) writeOne(f *transformed) string {
	set := make([]string, len(f.write))
	for i, c := range f.write {
		set[i] = fmt.Sprintf("%s = (($%d::text[])[1])::%s", c.name, i+2, c.cast)
	}
	return fmt.Sprintf("update %s set %s where %s", s.table, strings.Join(set, ", "), s.thisOne())
}
