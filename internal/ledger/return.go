package ledger

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrPastReturn says that a step which nothing undoes has begun.
var ErrPastReturn = errors.New("the migration is behind its point of no return")

// ErrPassing says that somebody holds the plan's row, who may be passing its point of no return at this moment.
var ErrPassing = errors.New("a step that nothing undoes may be about to begin")

// ErrKilled says that the kill switch was pressed, and nobody has resumed the migration since.
var ErrKilled = errors.New("the kill switch was pressed")

const lockNotAvailable = "55P03" // SQLSTATE

// Press writes kills of one plan before they are made, and returns their ids in the same order. Of two presses the one that commits
// later has the higher ids. Without force it writes nothing behind the plan's point of no return and fails with ErrPastReturn: of a press
// and a PastReturn at the same moment one wins. Where that can't be told within the connection's lock_timeout it fails with ErrPassing.
func (l *Ledger) Press(ctx context.Context, kills []Kill, force bool) (ids []int64, err error) {
	if len(kills) == 0 {
		return nil, nil
	}
	k := kills[0]
	keys := make([]string, len(kills))
	for i := range kills {
		keys[i] = kills[i].Key
	}
	// First the locks and then the look: a mark that is being made is waited for, and one that comes later sees these rows. The row is
	// held for share, beside schema changes; that presses come in the order of their ids is a lock of their own.
	row := `select from contraflow.migration where plan = $1 for share`
	if force {
		row += ` skip locked`
	}
	batch := &pgx.Batch{} // one round trip and one transaction: whoever is frozen holds nobody up
	batch.Queue(row, k.Plan)
	batch.Queue(`select pg_advisory_xact_lock(hashtextextended('contraflow.kill ' || $1::text, 0))`, k.Plan)
	batch.Queue(`insert into contraflow.flag_kill (plan, migration, first_run, flag_key, context_kind, context_key, actor, reason)
		select $1, $2, $3, flag, $5, $6, $7, $8 from unnest($4::text[]) with ordinality f (flag, place)
		where $9 or not exists (select from contraflow.migration where plan = $1 and past_return_at is not null) order by place returning id`,
		k.Plan, k.Migration, k.FirstRun, keys, k.ContextKind, storable(k.ContextKey), storable(k.Actor), storable(k.Reason), force).Query(func(rows pgx.Rows) error {
		ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	})
	err = l.pool.SendBatch(ctx, batch).Close()
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == lockNotAvailable {
		err = ErrPassing
	}
	if err == nil && len(ids) == 0 {
		err = ErrPastReturn
	}
	if err != nil {
		return nil, wrap(err, "record the kill switch")
	}
	return ids, nil
}

// PastReturn marks that a step which nothing undoes is about to begin: from then on the kill switch wants force. kills is the id
// of the latest press that people have resumed from; where the switch was pressed since, if only for one context, it marks nothing
// and fails with ErrKilled, since the application lives in the old shape. The first mark stays. Fails with ErrSuperseded where the plan is
// not the run's any more, or its rollback has begun. In a transaction of conn's the mark is made when that commits, and a press waits.
func PastReturn(ctx context.Context, conn *pgx.Conn, plan string, me Holder, kills int64) error {
	return pastReturn(ctx, conn, plan, me, kills)
}

// PastReturn does so at once.
func (l *Ledger) PastReturn(ctx context.Context, plan string, me Holder, kills int64) error {
	return pastReturn(ctx, l.pool, plan, me, kills)
}

func pastReturn(ctx context.Context, db interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}, plan string, me Holder, kills int64) error {
	const mine = `plan = $1 and first_run = $2 and ended_at is null and not undoing`
	var held, marked bool
	batch := &pgx.Batch{} // as in Press
	batch.Queue(`select from contraflow.migration where `+mine+` for no key update`, plan, me.FirstRun).Exec(func(tag pgconn.CommandTag) error {
		held = tag.RowsAffected() > 0
		return nil
	})
	// A statement of its own behind the lock: it sees what a press that had it before has written.
	batch.Queue(`update contraflow.migration set past_return_at = coalesce(past_return_at, now()) where `+mine+`
		and not exists (select from contraflow.flag_kill where first_run = $2 and id > $3)`, plan, me.FirstRun, kills).Exec(func(tag pgconn.CommandTag) error {
		marked = tag.RowsAffected() > 0
		return nil
	})
	err := db.SendBatch(ctx, batch).Close()
	switch {
	case err != nil:
	case !held:
		err = ErrSuperseded
	case !marked:
		err = ErrKilled
	}
	return wrap(err, "pass the point of no return of plan "+plan)
}

// Afresh says that the run begins with its plan's first step: what an earlier run was about to do when it was cut off has not begun, and
// its mark goes, so that the kill switch works. A mark of the run's own stays.
func (l *Ledger) Afresh(ctx context.Context, plan string, me Holder) error {
	_, err := l.pool.Exec(ctx, `update contraflow.migration set past_return_at = null
		where plan = $1 and first_run = $2 and ended_at is null and past_return_at < claimed_at`, plan, me.FirstRun)
	return wrap(err, "begin plan "+plan+" afresh")
}
