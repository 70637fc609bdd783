package ledger

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kill is one flag that somebody has turned off by the kill switch. ContextKey belongs into this database alone.
type Kill struct {
	ID                        int64
	Plan, Migration, FirstRun string
	Key                       string
	ContextKind, ContextKey   string // "" and "": off for everybody
	Actor, Reason             string
	At                        time.Time
	Done                      *time.Time      // nil: not known to have been made
	State                     json.RawMessage // the provider's state behind it; nil while not done
}

// Press writes kills before they are made, and returns their ids in the same order.
func (l *Ledger) Press(ctx context.Context, kills []Kill) (ids []int64, err error) {
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		for _, k := range kills {
			var id int64
			if err := tx.QueryRow(ctx, `insert into contraflow.flag_kill (plan, migration, first_run, flag_key, context_kind, context_key, actor, reason)
				values ($1, $2, $3, $4, $5, $6, $7, $8) returning id`, k.Plan, k.Migration, k.FirstRun, k.Key, k.ContextKind, storable(k.ContextKey),
				storable(k.Actor), storable(k.Reason)).Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids, wrap(err, "record the kill switch")
}

// Killed writes that a kill is made, and the state it has left.
func (l *Ledger) Killed(ctx context.Context, id int64, state json.RawMessage) error {
	_, err := l.pool.Exec(ctx, `update contraflow.flag_kill set done_at = now(), state = $2 where id = $1`, id, state)
	return wrap(err, "record what the kill switch did")
}

// Kills lists the kills of a run behind the one with this id, in their order, done or not.
func (l *Ledger) Kills(ctx context.Context, firstRun string, after int64) ([]Kill, error) {
	rows, err := l.pool.Query(ctx, `select id, plan, migration, first_run, flag_key, context_kind, context_key, actor, reason, at, done_at, state
		from contraflow.flag_kill where first_run = $1 and id > $2 order by id`, firstRun, after)
	if err != nil {
		return nil, wrap(err, "read the kill switch")
	}
	kills, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Kill])
	return kills, wrap(err, "read the kill switch")
}
