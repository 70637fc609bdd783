package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// UseFlag notes that a run of the plan is about to move the flag. A flag that was retired and is moved again is in use again, and
// one that a rollback has put back is used for the first time.
func (l *Ledger) UseFlag(ctx context.Context, plan string, me Holder, scope Scope, key string) error {
	return useFlag(ctx, l.pool, plan, me, scope, key)
}

func useFlag(ctx context.Context, db interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
}, plan string, me Holder, scope Scope, key string) error {
	_, err := db.Exec(ctx, `insert into contraflow.flag_use (plan, flag_key, scope, migration, first_run) values ($1, $2, $3, $4, $5)
		on conflict (plan, flag_key) do update set scope = $3, migration = $4, first_run = $5, used_at = now(), retired_at = null,
			first_used_at = case when flag_use.used_at > (select coalesce(max(at), '-infinity') from contraflow.audit where plan = $1 and event = 'rolled_back')
				then flag_use.first_used_at else now() end`,
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

// Unretired is a flag that a plan has moved and nobody has retired.
type Unretired struct {
	Use
	// Owner as the plan says; it may be "".
	Owner string
	// Outcome of the run that moved it last, and Ended when; "" and nil while the plan is being run, or if that run was cut off.
	Outcome string
	Ended   *time.Time
	// Holder of the plan, which runs as far as the database knows; none where the plan's latest run has ended.
	Holder Holder
}

// Unretired lists the flags of all plans that nobody has retired, those that have waited longest first. Where contraflow has never
// worked there are none.
func (l *Ledger) Unretired(ctx context.Context) ([]Unretired, error) {
	// A later run of the plan may have ended before it reached the flag: what the flag was moved for is the run that did. One that
	// was cut off has no end of its own, and ended with the run that went on behind it.
	rows, err := l.pool.Query(ctx, `select u.plan, u.flag_key, u.scope, u.migration, u.first_run, u.first_used_at, u.used_at, coalesce(m.owner, ''),
			case when m.ended_at is null and m.plan is not null then '' when m.first_run = u.first_run then m.outcome else coalesce(e.event, m.outcome, '') end,
			case when m.ended_at is null and m.plan is not null then null when m.first_run = u.first_run then m.ended_at else coalesce(e.at, m.ended_at) end,
			case when m.ended_at is null then coalesce(m.migration, '') else '' end, case when m.ended_at is null then coalesce(m.first_run, '') else '' end,
			case when m.ended_at is null then coalesce(m.home, '{}') else '{}' end
		from contraflow.flag_use u left join contraflow.migration m using (plan)
		left join lateral (select a.event, a.at from contraflow.audit a where a.migration = u.migration and a.run_id = u.first_run
			and a.event in ('completed', 'rolled_back', 'failed') order by a.id desc limit 1) e on true
		where u.retired_at is null order by u.used_at, u.plan, u.flag_key`)
	var all []Unretired
	if err == nil {
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f Unretired, err error) {
			err = row.Scan(&f.Plan, &f.Key, &f.Scope, &f.Migration, &f.FirstRun, &f.FirstUsed, &f.Used, &f.Owner, &f.Outcome, &f.Ended,
				&f.Holder.Migration, &f.Holder.FirstRun, &f.Holder.Home)
			return f, err
		})
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == undefinedTable {
		return nil, nil
	}
	return all, wrap(err, "read which flags were never retired")
}
