package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	Found                     json.RawMessage // the provider's state before it; nil where that is not known
	State                     json.RawMessage // the provider's state behind it; nil while not done
	// Age of the press by the database's own clock when it was read.
	Age time.Duration
}

// Everybody tells whether the flag was turned off altogether, and not for one context alone.
func (k Kill) Everybody() bool { return k.ContextKind == "" }

// Used is a flag of a plan, as the kill switch finds it.
type Used struct {
	Key     string
	Scope   Scope
	Retired bool
	// Earlier says that the run which holds the plan has not moved it: one before it has.
	Earlier bool
	// Steps have begun to change it, and nobody has undone that.
	Steps []string
}

// Switch is what the kill switch needs to know of a migration.
type Switch struct {
	Plan, PlanHash string
	// FirstRun is the run that holds the plan, or was the last to do so: it is told of what is pressed.
	FirstRun string
	// Running says that a run holds the plan, and Undoing that it rolls back.
	Running, Undoing bool
	// PastReturn says that a step which nothing undoes has begun.
	PastReturn bool
	// Used are the flags that the plan has moved since it was last rolled back, in the order of their first use. Once a rollback has
	// begun they are those that it has not put back yet.
	Used []Used
}

// ErrUnknown says that no migration of that id has ever worked on this database.
var ErrUnknown = errors.New("no such migration on this database")

// FindSwitch looks a migration up by its workflow id: its latest plan, if it has run several. Errors: ErrUnknown.
func (l *Ledger) FindSwitch(ctx context.Context, migration string) (Switch, error) {
	rows, err := l.pool.Query(ctx, `
		with found as (
			select plan from (
				select plan, 1 as place, claimed_at as at from contraflow.migration where migration = $1
				union all select plan, 2, used_at from contraflow.flag_use where migration = $1) c
			order by place, at desc limit 1)
		select found.plan, coalesce(m.plan_hash, ''), coalesce(m.first_run, u.first_run, ''),
			m.plan is not null and m.ended_at is null, m.ended_at is null and coalesce(m.undoing, false), m.past_return_at is not null, u.flag_key, u.scope, u.retired_at is not null,
			u.first_run is distinct from m.first_run,
			(select array_agg(step order by step) from contraflow.flag_record r where r.plan = found.plan and r.flag_key = u.flag_key)
		from found left join contraflow.migration m using (plan) left join contraflow.flag_use u on u.plan = found.plan and (
			not coalesce(m.undoing, false) and u.used_at > (select coalesce(max(at), '-infinity') from contraflow.audit a where a.plan = found.plan and event = 'rolled_back')
			or exists (select from contraflow.flag_record r where r.plan = found.plan and r.flag_key = u.flag_key))
		order by u.first_used_at, u.flag_key`, migration)
	var s Switch
	known := false
	if err == nil {
		var key *string
		var scope *Scope
		var retired, earlier bool
		var steps []string
		_, err = pgx.ForEachRow(rows, []any{&s.Plan, &s.PlanHash, &s.FirstRun, &s.Running, &s.Undoing, &s.PastReturn, &key, &scope, &retired, &earlier, &steps}, func() error {
			known = true
			if key != nil {
				s.Used = append(s.Used, Used{Key: *key, Scope: *scope, Retired: retired, Earlier: earlier, Steps: slices.Clone(steps)})
			}
			return nil
		})
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == undefinedTable {
		err = nil // contraflow has never worked on this database
	}
	if err == nil && !known {
		err = ErrUnknown
	}
	return s, wrap(err, "find migration "+migration)
}

// Killed writes that a kill is made, and the state it has left.
func (l *Ledger) Killed(ctx context.Context, id int64, state json.RawMessage) error {
	_, err := l.pool.Exec(ctx, `update contraflow.flag_kill set done_at = now(), state = $2 where id = $1`, id, state)
	return wrap(err, "record what the kill switch did")
}

// Kills lists the kills of a run behind the one with this id, in their order, done or not.
func (l *Ledger) Kills(ctx context.Context, firstRun string, after int64) ([]Kill, error) {
	rows, err := l.pool.Query(ctx, `select id, plan, migration, first_run, flag_key, context_kind, context_key, actor, reason, at, done_at, found, state,
		clock_timestamp() - at from contraflow.flag_kill where first_run = $1 and id > $2 order by id`, firstRun, after)
	if err != nil {
		return nil, wrap(err, "read the kill switch")
	}
	kills, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Kill])
	return kills, wrap(err, "read the kill switch")
}
