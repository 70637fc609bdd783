package backfill

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Manual is a backfill that people do: rows of a table that match a condition until somebody has worked on them. The table needs
// no key, for nothing walks it.
type Manual struct {
	// Plan and Step name it in errors; Table and Where as in Spec.
	Plan, Step, Table, Where string
}

// InspectManual checks the table and the condition and changes nothing. Errors are those of Inspect.
func (e *Engine) InspectManual(ctx context.Context, m Manual) error {
	query, err := e.leftToPeople(ctx, m)
	if err != nil {
		return err
	}
	doing := m.spec().name() + ": check the condition"
	if err := e.selfContained(ctx, doing, query, 0); err != nil {
		return err
	}
	rows, err := e.pool.Query(ctx, "explain "+query)
	if err == nil {
		rows.Close()
		err = rows.Err()
	}
	return e.failed(ctx, planError(doing, err))
}

// LeftToPeople counts the rows that match the condition still. Like Remaining it may read the whole table, without a statement
// timeout: bound it with ctx.
func (e *Engine) LeftToPeople(ctx context.Context, m Manual) (int64, error) {
	query, err := e.leftToPeople(ctx, m)
	if err != nil {
		return 0, err
	}
	var n int64
	var b pgx.Batch
	b.Queue(`select set_config('statement_timeout', '0', true)`)
	b.Queue(query).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
	err = e.pool.SendBatch(ctx, &b).Close()
	return n, e.failed(ctx, rowError(m.spec().name()+": count the rows that are left to people", err))
}

func (e *Engine) leftToPeople(ctx context.Context, m Manual) (query string, err error) {
	if m.Where == "" {
		return "", fmt.Errorf("%w: %s has no where; people have done the work when no row matches it", ErrSpec, m.spec().name())
	}
	relation, err := e.relation(ctx, m.Table)
	if err != nil {
		return "", err
	}
	return "select count(*) from " + relation.Identifier().Sanitize() + " where (\n" + m.Where + "\n)", nil
}

func (m Manual) spec() Spec { return Spec{Plan: m.Plan, Step: m.Step} }
