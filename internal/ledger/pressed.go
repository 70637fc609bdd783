package ledger

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Pressed lists the kills of all flags of a plan since it was last completed or rolled back, in their order, whichever run was
// told: what a run that was cut off left of them the next one finds.
func (l *Ledger) Pressed(ctx context.Context, plan string) ([]Kill, error) {
	rows, err := l.pool.Query(ctx, `select id, plan, migration, first_run, flag_key, context_kind, context_key, actor, reason, at, done_at, state,
		clock_timestamp() - at from contraflow.flag_kill where plan = $1 and at >
		(select coalesce(max(at), '-infinity') from contraflow.audit where plan = $1 and event in ('completed', 'rolled_back')) order by id`, plan)
	if err != nil {
		return nil, wrap(err, "read the kill switch")
	}
	kills, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Kill])
	return kills, wrap(err, "read the kill switch")
}
