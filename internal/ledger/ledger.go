// Package ledger is what contraflow remembers in the target database: who works on which plan, what flags were before, and
// what happened. It outlives Temporal's memory.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Ledger of one target database, whose schema contraflow is installed (pg.EnsureSchema).
type Ledger struct{ pool *pgxpool.Pool }

// New makes a ledger.
func New(pool *pgxpool.Pool) *Ledger { return &Ledger{pool} }

// Holder is a migration that works on a plan.
type Holder struct {
	Migration, FirstRun string
	// Home is where it runs.
	Home Home
	// Owner as its plan says; only Claim needs it.
	Owner string
}

// HeldError says that another migration works on the plan.
type HeldError struct {
	Plan   string
	Holder Holder
	// Elsewhere says that the holder runs on another Temporal than the one who asks, who can't tell whether it is gone.
	Elsewhere bool
}

func (e *HeldError) Error() string {
	if e.Elsewhere {
		return fmt.Sprintf("plan %s is being run by migration %s (run %s) in %s: %s", e.Plan, e.Holder.Migration, e.Holder.FirstRun, e.Holder.Home, e.wayOut())
	}
	return fmt.Sprintf("plan %s is being run by migration %s (run %s): wait for it, or roll it back", e.Plan, e.Holder.Migration, e.Holder.FirstRun)
}

// Claim takes the plan for a migration. It does nothing if that migration has it already. Held by another, it is a *HeldError,
// unless the caller names that holder as gone: then the claim passes over.
func (l *Ledger) Claim(ctx context.Context, plan, planHash string, me Holder, gone Holder) error {
	var holder Holder
	err := l.pool.QueryRow(ctx, `
		insert into contraflow.migration as m (plan, migration, first_run, plan_hash, home, owner) values ($1, $2, $3, $4, $7, $8)
		on conflict (plan) do update set
			claimed_at = case when m.first_run = $3 then m.claimed_at else now() end,
			undoing = m.undoing and m.first_run = $3,
			past_return_at = case when m.outcome is distinct from 'completed' or m.plan_hash = $4 then m.past_return_at end,
			migration = $2, first_run = $3, plan_hash = $4, home = $7, owner = $8, ended_at = null, outcome = null
		where m.ended_at is not null or m.first_run = $3 or (m.migration = $5 and m.first_run = $6)
		returning migration, first_run`, plan, me.Migration, me.FirstRun, planHash, gone.Migration, gone.FirstRun, me.Home, me.Owner).Scan(&holder.Migration, &holder.FirstRun)
	if !errors.Is(err, pgx.ErrNoRows) {
		return wrap(err, "claim plan "+plan)
	}
	err = l.pool.QueryRow(ctx, `select migration, first_run, home from contraflow.migration where plan = $1`, plan).Scan(&holder.Migration, &holder.FirstRun, &holder.Home)
	if err != nil {
		return wrap(err, "see who holds plan "+plan)
	}
	return &HeldError{Plan: plan, Holder: holder, Elsewhere: !holder.Home.Same(me.Home)}
}

// bounded are transactions that hold a plan's row over several round trips. A worker that stands still in one (stopped, swapped out, its
// machine suspended) would hold up who goes on in its place: Postgres ends it after five seconds, where we take milliseconds.
var bounded = pgx.TxOptions{BeginQuery: "begin; set local idle_in_transaction_session_timeout = '5s'"}

// ErrSuperseded says that a run does not hold its plan any more, or is rolling back: its late attempt changed nothing.
var ErrSuperseded = errors.New("this attempt comes too late and changed nothing: another run holds the plan, or its rollback has begun")

// Hold fails with ErrSuperseded where the plan is not the run's any more, or its rollback has begun and undoing is false. In a
// transaction the answer holds until its end.
func Hold(ctx context.Context, conn *pgx.Conn, plan string, me Holder, undoing bool) error {
	var held bool
	err := conn.QueryRow(ctx, `select true from contraflow.migration
		where plan = $1 and first_run = $2 and ended_at is null and ($3 or not undoing) for share`, plan, me.FirstRun, undoing).Scan(&held)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrSuperseded
	}
	return wrap(err, "see who holds plan "+plan)
}

// Undoing says that the migration's rollback has begun: from now on none of its attempts may bring the schema up, and what was
// about to pass the point of no return has not. It does nothing if the claim is another's by now.
func (l *Ledger) Undoing(ctx context.Context, plan string, me Holder) error {
	_, err := l.pool.Exec(ctx, `update contraflow.migration set undoing = true, past_return_at = null where plan = $1 and first_run = $2 and not undoing`, plan, me.FirstRun)
	return wrap(err, "mark the rollback of plan "+plan)
}

// Close ends the claim. With forget it drops what only a running migration needs: checkpoints, records of flags, whom the kill switch
// was pressed for, and the ownership of schema versions, which from now on are everybody's. It does nothing if the claim is another's by now.
func (l *Ledger) Close(ctx context.Context, plan string, me Holder, outcome string, forget bool) error {
	err := pgx.BeginTxFunc(ctx, l.pool, bounded, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update contraflow.migration set ended_at = now(), outcome = $3,
				past_return_at = case when $3 <> 'rolled_back' then past_return_at end
			where plan = $1 and first_run = $2 and ended_at is null`, plan, me.FirstRun, outcome)
		if err != nil || tag.RowsAffected() == 0 || !forget {
			return err
		}
		for _, table := range []string{"flag_record", "ddl_version", "backfill_lane", "backfill_control", "backfill_reading"} {
			if _, err := tx.Exec(ctx, `delete from contraflow.`+table+` where plan = $1`, plan); err != nil {
				return err
			}
		}
		return forgetKills(ctx, tx, plan)
	})
	return wrap(err, "close plan "+plan)
}

// BegunFlag is a flag that a step has begun to change.
type BegunFlag struct {
	Step, Key string
	// Scope in which the plan has moved it; nil where that is not known.
	Scope *Scope
}

// Begun lists what steps of the plan have begun and nobody has undone yet: changes of flags, and backfills by their steps.
func (l *Ledger) Begun(ctx context.Context, plan string) (flags []BegunFlag, backfills []string, err error) {
	rows, err := l.pool.Query(ctx, `select step, flag_key, scope from contraflow.flag_record left join contraflow.flag_use using (plan, flag_key)
		where plan = $1 order by step, flag_key`, plan)
	if err == nil {
		flags, err = pgx.CollectRows(rows, pgx.RowToStructByPos[BegunFlag])
	}
	if err == nil {
		err = l.pool.QueryRow(ctx, `select array(select distinct step from contraflow.backfill_lane where plan = $1 order by step)`, plan).Scan(&backfills)
	}
	return flags, backfills, wrap(err, "read what earlier runs of plan "+plan+" have begun")
}

const undefinedTable = "42P01" // SQLSTATE

// Archived lists the flags that the plan has begun to archive since it was last completed or rolled back: it was cut off while
// it retired them.
func (l *Ledger) Archived(ctx context.Context, plan string) ([]string, error) {
	rows, err := l.pool.Query(ctx, `select distinct detail from contraflow.audit where plan = $1 and event = 'archiving flag' and id >
		(select coalesce(max(id), 0) from contraflow.audit where plan = $1 and event in ('completed', 'rolled_back'))`, plan)
	var keys []string
	if err == nil {
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok && server.Code == undefinedTable {
		return nil, nil // contraflow has never worked on this database
	}
	return keys, wrap(err, "read which flags plan "+plan+" has archived")
}

// Event is one row of the audit: never a row value, never a secret.
type Event struct {
	// Key is the writer's own name for the event within the run: a second write of the same key does nothing.
	Key                                 string
	At                                  time.Time // zero: now
	Migration, FirstRun, Plan, PlanHash string
	Step, Event, Actor, Detail          string
}

// Audit writes events.
func (l *Ledger) Audit(ctx context.Context, events ...Event) error {
	batch := &pgx.Batch{}
	for _, e := range events {
		var at *time.Time
		if !e.At.IsZero() {
			at = &e.At
		}
		batch.Queue(`insert into contraflow.audit (event_key, at, migration, run_id, plan, plan_hash, step, event, actor, detail)
			values ($1, coalesce($2, now()), $3, $4, $5, $6, $7, $8, $9, $10) on conflict (event_key) do nothing`,
			storable(e.FirstRun+"/"+e.Key), at, e.Migration, e.FirstRun, e.Plan, e.PlanHash, e.Step, storable(e.Event), storable(e.Actor), storable(e.Detail))
	}
	return wrap(l.pool.SendBatch(ctx, batch).Close(), "write the audit")
}

// storable is a person's text as Postgres takes it, which knows no NUL and no broken UTF-8: a decision must not fail over them.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
