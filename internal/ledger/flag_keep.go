package ledger

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
)

// Record is what the ledger knows of a flag that a step changes.
type Record struct {
	Step string
	// Before is the state it was found in, and Ours those that the step may have left it in.
	Before, Ours json.RawMessage
	// FirstRun is the run whose attempt wrote it last, and Kills the latest press that its people had resumed from then.
	FirstRun string
	Kills    int64
	// Mark is another one behind every write; "" while there is no record.
	Mark string
}

// ErrAltered says that a record is not the one any more that the caller has read.
var ErrAltered = errors.New("the record of the flag was altered meanwhile")

// Records lists what all steps of the plan have recorded of a flag, in the order in which they began with it.
func (l *Ledger) Records(ctx context.Context, plan, key string) ([]Record, error) {
	// The transaction that wrote a row last is in the row itself.
	rows, err := l.pool.Query(ctx, `select step, before, ours, first_run, kills, xmin::text from contraflow.flag_record
		where plan = $1 and flag_key = $2 order by recorded_at, step`, plan, key)
	if err != nil {
		return nil, wrap(err, "read the records of flag "+key)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Record])
	return all, wrap(err, "read the records of flag "+key)
}

// Holds fails as Hold does.
func (l *Ledger) Holds(ctx context.Context, plan string, me Holder, undoing bool) error {
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return wrap(err, "see who holds plan "+plan)
	}
	defer conn.Release()
	return Hold(ctx, conn.Conn(), plan, me, undoing)
}

// KeepFlag writes what a change will leave, before the change is made, and returns the new mark. Together with it the use of the flag
// is noted, so that the kill switch finds no flag whose start nobody knows; while the plan is undone no use is. It fails with
// ErrSuperseded as Hold does, and with ErrAltered if the record is not the one any more that r.Mark is of.
func (l *Ledger) KeepFlag(ctx context.Context, plan string, me Holder, scope Scope, key string, r Record, undoing bool) (mark string, err error) {
	write := `insert into contraflow.flag_record (plan, step, flag_key, before, ours, first_run, kills)
		select $1, $2, $3, $4, $5, $6, $7 where $8 = '' on conflict do nothing returning xmin::text`
	if r.Mark != "" {
		write = `update contraflow.flag_record set before = $4, ours = $5, first_run = $6, kills = $7
			where plan = $1 and step = $2 and flag_key = $3 and xmin::text = $8 returning xmin::text`
	}
	err = l.held(ctx, plan, me, undoing, func(tx pgx.Tx) error {
		if !undoing {
			if err := useFlag(ctx, tx, plan, me, scope, key); err != nil {
				return err
			}
		}
		return altered(tx.QueryRow(ctx, write, plan, r.Step, key, r.Before, r.Ours, me.FirstRun, r.Kills, r.Mark).Scan(&mark))
	})
	return mark, wrap(err, "record flag "+key)
}

// ForgetFlag removes a record whose flag is restored. What it has been put back to is nobody else's doing to the steps before. It
// fails as KeepFlag does.
func (l *Ledger) ForgetFlag(ctx context.Context, plan string, me Holder, key string, r Record, back json.RawMessage) error {
	return wrap(l.held(ctx, plan, me, true, func(tx pgx.Tx) error {
		var gone string
		err := tx.QueryRow(ctx, `delete from contraflow.flag_record where plan = $1 and step = $2 and flag_key = $3 and xmin::text = $4 returning step`,
			plan, r.Step, key, r.Mark).Scan(&gone)
		if err != nil {
			return altered(err)
		}
		_, err = tx.Exec(ctx, `update contraflow.flag_record set ours = ours || jsonb_build_array($3::jsonb) where plan = $1 and flag_key = $2`, plan, key, back)
		return err
	}), "forget the record of flag "+key)
}

// held changes what nobody may change who does not hold the plan.
func (l *Ledger) held(ctx context.Context, plan string, me Holder, undoing bool, change func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, l.pool, bounded, func(tx pgx.Tx) error {
		if err := Hold(ctx, tx.Conn(), plan, me, undoing); err != nil {
			return err
		}
		return change(tx)
	})
}

func altered(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrAltered
	}
	return err
}
