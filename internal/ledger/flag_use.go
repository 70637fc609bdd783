package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Scope is where in the flag service a flag lives.
type Scope struct {
	Project     string `json:"project"`
	Environment string `json:"environment"`
}

// Use is a flag that a plan has moved.
type Use struct {
	Plan, Key           string
	Scope               Scope
	Migration, FirstRun string
	FirstUsed, Used     time.Time
}

// UseFlag notes that a run of the plan is about to move the flag. A flag that was retired and is moved again is in use again.
func (l *Ledger) UseFlag(ctx context.Context, plan string, me Holder, scope Scope, key string) error {
	_, err := l.pool.Exec(ctx, `insert into contraflow.flag_use (plan, flag_key, scope, migration, first_run) values ($1, $2, $3, $4, $5)
		on conflict (plan, flag_key) do update set scope = $3, migration = $4, first_run = $5, used_at = now(), retired_at = null`,
		plan, key, scope, me.Migration, me.FirstRun)
	return wrap(err, "note the use of flag "+key)
}

// FlagRetired notes that the flag is archived, for every plan that has moved it: one plan may retire what another has rolled out.
func (l *Ledger) FlagRetired(ctx context.Context, scope Scope, key string) error {
	_, err := l.pool.Exec(ctx, `update contraflow.flag_use set retired_at = now() where flag_key = $1 and scope = $2 and retired_at is null`, key, scope)
	return wrap(err, "note that flag "+key+" is retired")
}

// Uses lists the flags that a migration has moved and nobody has retired, by the migration's workflow id.
func (l *Ledger) Uses(ctx context.Context, migration string) ([]Use, error) {
	rows, err := l.pool.Query(ctx, `select plan, flag_key, scope, migration, first_run, first_used_at, used_at from contraflow.flag_use
		where migration = $1 and retired_at is null order by first_used_at, flag_key`, migration)
	if err != nil {
		return nil, wrap(err, "read which flags migration "+migration+" has moved")
	}
	uses, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Use])
	return uses, wrap(err, "read which flags migration "+migration+" has moved")
}
