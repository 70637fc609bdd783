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
	// Used are the flags that the plan has moved since it was last rolled back, in the order of their first use.
	Used []Used
}

// ErrUnknown says that no migration of that id has ever worked on this database.
var ErrUnknown = errors.New("no such migration on this database")

// ErrPastReturn says that a step which nothing undoes has begun.
var ErrPastReturn = errors.New("the migration is behind its point of no return")

// ErrKilled says that the kill switch was pressed, and nobody has resumed the migration since.
var ErrKilled = errors.New("the kill switch was pressed")

// FindSwitch looks a migration up by its workflow id: its latest plan, if it has run several. Errors: ErrUnknown.
func (l *Ledger) FindSwitch(ctx context.Context, migration string) (Switch, error) {
	rows, err := l.pool.Query(ctx, `
		with found as (
			select plan from (
				select plan, 1 as place, claimed_at as at from contraflow.migration where migration = $1
				union all select plan, 2, used_at from contraflow.flag_use where migration = $1) c
			order by place, at desc limit 1)
		select found.plan, coalesce(m.plan_hash, ''), coalesce(m.first_run, u.first_run, ''),
			m.plan is not null and m.ended_at is null, m.ended_at is null and coalesce(m.undoing, false), u.flag_key, u.scope, u.retired_at is not null,
			(select array_agg(step order by step) from contraflow.flag_record r where r.plan = found.plan and r.flag_key = u.flag_key)
		from found left join contraflow.migration m using (plan) left join contraflow.flag_use u on u.plan = found.plan and (
			u.used_at > (select coalesce(max(at), '-infinity') from contraflow.audit a where a.plan = found.plan and event = 'rolled_back')
			or exists (select from contraflow.flag_record r where r.plan = found.plan and r.flag_key = u.flag_key))
		order by u.first_used_at, u.flag_key`, migration)
	var s Switch
	known := false
	if err == nil {
		var key *string
		var scope *Scope
		var retired bool
		var steps []string
		_, err = pgx.ForEachRow(rows, []any{&s.Plan, &s.PlanHash, &s.FirstRun, &s.Running, &s.Undoing, &key, &scope, &retired, &steps}, func() error {
			known = true
			if key != nil {
				s.Used = append(s.Used, Used{Key: *key, Scope: *scope, Retired: retired, Steps: slices.Clone(steps)})
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

// Press writes kills of one plan before they are made, and returns their ids in the same order. Without force it writes nothing
// behind the plan's point of no return and fails with ErrPastReturn: of a press and a PastReturn at the same moment one wins.
func (l *Ledger) Press(ctx context.Context, kills []Kill, force bool) (ids []int64, err error) {
	if len(kills) == 0 {
		return nil, nil
	}
	k := kills[0]
	keys := make([]string, len(kills))
	for i := range kills {
		keys[i] = kills[i].Key
	}
	// First the lock and then the look: a mark that is being made is waited for, and one that comes later sees these rows.
	rows, err := l.pool.Query(ctx, `
		with locked as materialized (select past_return_at from contraflow.migration where plan = $1 for share)
		insert into contraflow.flag_kill (plan, migration, first_run, flag_key, context_kind, context_key, actor, reason)
		select $1, $2, $3, flag, $5, $6, $7, $8 from unnest($4::text[]) with ordinality f (flag, place) left join locked on true
		where past_return_at is null or $9 order by place returning id`,
		k.Plan, k.Migration, k.FirstRun, keys, k.ContextKind, storable(k.ContextKey), storable(k.Actor), storable(k.Reason), force)
	if err == nil {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
	}
	if err == nil && len(ids) == 0 {
		err = ErrPastReturn
	}
	return ids, wrap(err, "record the kill switch")
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

// PastReturn marks that a step which nothing undoes is about to begin: from then on the kill switch wants force. kills is the id
// of the latest press that people have resumed from; where the switch was pressed since, if only for one context, it marks nothing
// and fails with ErrKilled, since the application lives in the old shape. The first mark stays. Fails with ErrSuperseded where the plan is
// not the run's any more.
func (l *Ledger) PastReturn(ctx context.Context, plan string, me Holder, kills int64) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update contraflow.migration set past_return_at = coalesce(past_return_at, now())
			where plan = $1 and first_run = $2 and ended_at is null`, plan, me.FirstRun)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrSuperseded
		}
		// A statement of its own behind the lock: it sees what a press that had it before has written.
		var killed bool
		if err := tx.QueryRow(ctx, `select exists (select from contraflow.flag_kill where first_run = $1 and id > $2)`,
			me.FirstRun, kills).Scan(&killed); err != nil {
			return err
		}
		if killed {
			return ErrKilled
		}
		return nil
	})
	return wrap(err, "pass the point of no return of plan "+plan)
}
