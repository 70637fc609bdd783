package ledger

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sinceItEnded is when plan $1 was last completed or rolled back.
const sinceItEnded = `(select coalesce(max(at), '-infinity') from contraflow.audit where plan = $1 and event in ('completed', 'rolled_back'))`

// Pressed lists the kills of all flags of a plan since it was last completed or rolled back, in their order, whichever run was
// told: what a run that was cut off left of them the next one finds.
func (l *Ledger) Pressed(ctx context.Context, plan string) ([]Kill, error) {
	rows, err := l.pool.Query(ctx, `select id, plan, migration, first_run, flag_key, context_kind, context_key, actor, reason, at, done_at, found, state,
		clock_timestamp() - at from contraflow.flag_kill where plan = $1 and at > `+sinceItEnded+` order by id`, plan)
	if err != nil {
		return nil, wrap(err, "read the kill switch")
	}
	kills, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Kill])
	return kills, wrap(err, "read the kill switch")
}

// forgetKills takes out of the presses of a plan that has ended whom they were for and what flags were: who pressed what, when and why stays.
func forgetKills(ctx context.Context, tx pgx.Tx, plan string) error {
	_, err := tx.Exec(ctx, `update contraflow.flag_kill set context_key = '', found = null, state = null where plan = $1 and at <= `+sinceItEnded, plan)
	return err
}

// KeepOut writes that the contexts which the switch has turned other flags of the plan off for shall stay out of this one, too, and
// tells whether there were any that it was not written of yet. These rows are no presses: no run is told of them, and their FirstRun
// is "". Whoever takes a context out of the flag calls Killed.
func (l *Ledger) KeepOut(ctx context.Context, plan string, me Holder, key string) (bool, error) {
	tag, err := l.pool.Exec(ctx, `insert into contraflow.flag_kill (plan, migration, first_run, flag_key, context_kind, context_key, actor, reason)
		select distinct on (context_kind, context_key) $1, $2, '', $3, context_kind, context_key, actor, reason
		from contraflow.flag_kill k where plan = $1 and context_kind <> '' and at > `+sinceItEnded+` and not exists (
			select from contraflow.flag_kill there where there.plan = $1 and there.flag_key = $3 and there.at > `+sinceItEnded+`
			and there.context_kind = k.context_kind and there.context_key = k.context_key)
		order by context_kind, context_key, id`, plan, me.Migration, key)
	return tag.RowsAffected() > 0, wrap(err, "keep contexts out of flag "+key)
}

// Found writes the state that a kill has found, before Killed: what it has left out of a stranger's change stays the stranger's.
func (l *Ledger) Found(ctx context.Context, id int64, state json.RawMessage) error {
	_, err := l.pool.Exec(ctx, `update contraflow.flag_kill set found = $2 where id = $1`, id, state)
	return wrap(err, "record what the kill switch found")
}

// Touched lists the flags that runs of the plan have begun to change and nobody has put back, and those that the kill switch was
// pressed for since the plan was last completed or rolled back. Where contraflow has never worked there are none.
func (l *Ledger) Touched(ctx context.Context, plan string) ([]string, error) {
	rows, err := l.pool.Query(ctx, `select flag_key from contraflow.flag_record where plan = $1
		union select flag_key from contraflow.flag_kill where plan = $1 and at > `+sinceItEnded, plan)
	var keys []string
	if err == nil {
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == undefinedTable {
		return nil, nil
	}
	return keys, wrap(err, "read which flags of plan "+plan+" were touched")
}

// PressedElsewhere is the latest press by which another plan's flag of this key and scope was turned off for everybody, since that
// plan was last completed or rolled back and behind this plan's own presses of it; none, or one.
func (l *Ledger) PressedElsewhere(ctx context.Context, plan string, scope Scope, key string) ([]Kill, error) {
	rows, err := l.pool.Query(ctx, `select id, plan, migration, first_run, flag_key, context_kind, context_key, actor, reason, at, done_at, found, state,
		clock_timestamp() - at from contraflow.flag_kill k where plan <> $1 and flag_key = $3 and context_kind = ''
		and exists (select from contraflow.flag_use u where u.plan = k.plan and u.flag_key = $3 and u.scope = $2)
		and id > (select coalesce(max(id), 0) from contraflow.flag_kill mine where mine.plan = $1 and mine.flag_key = $3 and mine.context_kind = '')
		and at > (select coalesce(max(a.at), '-infinity') from contraflow.audit a where a.plan = k.plan and a.event in ('completed', 'rolled_back'))
		order by id desc limit 1`, plan, scope, key)
	if err != nil {
		return nil, wrap(err, "read the kill switch")
	}
	kills, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Kill])
	return kills, wrap(err, "read the kill switch")
}
