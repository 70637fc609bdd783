package backfill

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

// ErrSync says that a trigger could not keep the new columns right, or not without harm to the application. Its text says why.
var ErrSync = errors.New("sync by trigger is refused")

const (
	// syncLockTimeout bounds how long the application queues behind us: while we wait for the table, whoever comes after waits too.
	syncLockTimeout = 500 * time.Millisecond
	// syncIdle ends the transaction of a process that stands still (stopped, swapped out), so that its locks go.
	syncIdle = 10 * time.Second
	// syncBlockers named at most: the first ones are enough to act upon.
	syncBlockers = 5
)

// lockSync serializes whoever installs or removes the trigger of one step.
const lockSync = `select pg_advisory_xact_lock(hashtextextended('contraflow.sync ' || $1::text || ' ' || $2::text, 0))`

// SyncOptions are what the caller may want besides the trigger.
type SyncOptions struct {
	// OnWait hears, after every try that found no way to the table, who is in the way and when the next try comes. It names
	// sessions by pid, application, state and age, never by their queries. Defaults to nobody.
	OnWait func(reason string)
	// Claim is asked in the transaction of every try, before anything is changed; nothing is where it fails, and that is the
	// error then. What it locks there stays locked until the change is committed. Defaults to no question.
	Claim func(context.Context, *pgx.Conn) error
}

// InstallSync makes Postgres compute the spec's new columns whenever the application writes a row without them, from now until
// RemoveSync: an insert that leaves them out, an update that changes what the expressions read and not the columns themselves.
// The backfill's own updates are left alone. The role must own the table.
//
// It does nothing where exactly this trigger stands, and replaces another of the same step. All of it is one transaction. While
// it waits for the table it holds nothing for longer than half a second at a time, and tries until ctx ends. Errors are those of
// Inspect, and ErrSync where a trigger would not be right.
func (e *Engine) InstallSync(ctx context.Context, spec Spec, o SyncOptions) error {
	if err := syncable(spec); err != nil {
		return err
	}
	_, t, err := e.inspect(ctx, spec)
	if err != nil {
		return err
	}
	c := syncChange{engine: e, options: o, plan: spec.Plan, step: spec.Step,
		doing: spec.name() + ": install its sync trigger on " + t.relation.Identifier().Sanitize()}
	return c.untilDone(ctx, func(ctx context.Context, conn *pgxpool.Conn) (statements []string, err error) {
		c.mode, c.tables = "share row exclusive", []uint32{t.relation.OID}
		trigger, err := newSyncTrigger(ctx, conn, spec, t)
		if err != nil {
			return nil, err
		}
		if intact, err := trigger.intact(ctx, conn); intact || err != nil {
			return nil, planError(c.doing, err)
		}
		drops, err := c.drops(ctx, conn)
		if err != nil {
			return nil, err
		}
		return append(drops, trigger.statements()...), nil
	})
}

// InspectSync checks a spec as Inspect does, and whether InstallSync would take it, and changes nothing. Who may remove a trigger
// is asked first, so that it is told also where columns are still to come. Errors are those of Inspect, and ErrSync.
func (e *Engine) InspectSync(ctx context.Context, spec Spec) error {
	if err := syncable(spec); err != nil {
		return err
	}
	relation, err := e.relation(ctx, spec.Table)
	if err != nil {
		return err
	}
	c := syncChange{engine: e, doing: spec.name() + ": judge its sync trigger on " + relation.Identifier().Sanitize()}
	return e.failed(ctx, c.inTx(ctx, func(conn *pgxpool.Conn) error {
		owned := judge{conn: conn, doing: c.doing, table: table{relation: relation}}
		if err := owned.fit(ctx, spec); err != nil {
			return err
		}
		_, t, err := e.inspect(ctx, spec)
		if err != nil {
			return err
		}
		_, err = newSyncTrigger(ctx, conn, spec, t)
		return err
	}))
}

// syncable checks what needs no database.
func syncable(spec Spec) error {
	switch {
	case spec.Transform != "":
		return fmt.Errorf("%w: %s computes its values in Go (transform), which Postgres cannot run; write both shapes in the application", ErrSync, spec.name())
	case len(spec.Set) == 0:
		return fmt.Errorf("%w: %s sets no columns, so there is nothing for a trigger to compute; write both shapes in the application", ErrSync, spec.name())
	case spec.Where == "":
		return fmt.Errorf("%w: %s has no where, so nothing would find the rows whose new columns the trigger has to leave empty; give the step a where, such as: column is null",
			ErrSync, spec.name())
	}
	return nil
}

// RemoveSync takes away what InstallSync has made for the step; the values stay. It finds that in the database alone, and
// succeeds where there is nothing, or no table any more. It waits for the table as InstallSync does.
func (e *Engine) RemoveSync(ctx context.Context, plan, step string, o SyncOptions) error {
	c := syncChange{engine: e, options: o, plan: plan, step: step,
		doing: fmt.Sprintf("backfill step %q of plan %q: remove its sync trigger", step, plan)}
	return c.untilDone(ctx, func(ctx context.Context, conn *pgxpool.Conn) ([]string, error) {
		c.mode, c.tables = "", nil
		var exists bool
		err := conn.QueryRow(ctx, "select exists (select from "+syncFunction+")", syncName(plan, step)).Scan(&exists)
		if err != nil || !exists {
			return nil, planError(c.doing, err)
		}
		drops, err := c.drops(ctx, conn)
		return append(drops, "drop function "+syncIdentifier(plan, step)+"()"), err
	})
}

// syncChange brings the triggers of a step into another state.
type syncChange struct {
	engine     *Engine
	options    SyncOptions
	plan, step string
	doing      string

	mode   string   // of the lock that the change needs; "": none
	tables []uint32 // to lock
}

// untilDone tries again as long as locks are in the way. decide reads what is and yields the statements to execute, none if all is well.
func (c *syncChange) untilDone(ctx context.Context, decide func(context.Context, *pgxpool.Conn) ([]string, error)) error {
	for tries := 1; ; tries++ {
		err := c.try(ctx, decide)
		statement, _ := errors.AsType[*StatementError](err)
		why, contended := contention(err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case contended:
			pause := backoff(tries)
			if c.options.OnWait != nil {
				c.options.OnWait(fmt.Sprintf("%s: %s%s; next try in about %s", c.doing, why, c.blockers(ctx), pause.Round(10*time.Millisecond)))
			}
			if err := rest(ctx, pause); err != nil {
				return err
			}
		case statement != nil && statement.Doing == c.doing && (statement.Code == "42P01" || statement.Code == "42704"):
			// A table or trigger was dropped or renamed between looking and locking: look again.
			if err := rest(ctx, jitter(firstBackoff)); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// try is one transaction. Its end, from the table's lock to the commit, is one message to the server: a process that stops
// there does not keep the lock.
func (c *syncChange) try(ctx context.Context, decide func(context.Context, *pgxpool.Conn) ([]string, error)) error {
	return c.inTx(ctx, func(conn *pgxpool.Conn) error { return c.change(ctx, conn, decide) })
}

// inTx is a transaction that is rolled back unless do has committed it.
func (c *syncChange) inTx(ctx context.Context, do func(*pgxpool.Conn) error) error {
	conn, err := c.engine.pool.Acquire(ctx)
	if err != nil {
		return rowError(c.doing+": connect", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, fmt.Sprintf("begin; set local lock_timeout = %d; set local idle_in_transaction_session_timeout = %d",
		syncLockTimeout.Milliseconds(), syncIdle.Milliseconds())); err != nil {
		return planError(c.doing, err)
	}
	// A connection that cannot roll back is closed by the pool.
	defer func() {
		if conn.Conn().PgConn().TxStatus() != 'I' {
			_, _ = conn.Exec(ctx, "rollback")
		}
	}()
	return do(conn)
}

func (c *syncChange) change(ctx context.Context, conn *pgxpool.Conn, decide func(context.Context, *pgxpool.Conn) ([]string, error)) error {
	if _, err := conn.Exec(ctx, lockSync, c.plan, c.step); err != nil {
		return planError(c.doing, err)
	}
	if err := c.claim(ctx, conn); err != nil {
		return err
	}
	statements, err := decide(ctx, conn)
	if err != nil || len(statements) == 0 {
		return err
	}
	lock, err := c.lock(ctx, conn)
	if err != nil {
		return planError(c.doing, err)
	}
	var b pgconn.Batch
	for _, sql := range append(append(lock, statements...), "commit") {
		b.ExecParams(sql, nil, nil, nil, nil)
	}
	_, err = conn.Conn().PgConn().ExecBatch(ctx, &b).ReadAll()
	return planError(c.doing, err)
}

func (c *syncChange) claim(ctx context.Context, conn *pgxpool.Conn) error {
	if c.options.Claim == nil {
		return nil
	}
	err := c.options.Claim(ctx, conn.Conn())
	if _, server := errors.AsType[*pgconn.PgError](err); server || err != nil && conn.Conn().IsClosed() {
		return planError(c.doing+": see whether it may be changed", err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.doing, err)
	}
	return nil
}

// drops are the statements that remove the triggers that stand, on whatever table.
func (c *syncChange) drops(ctx context.Context, conn *pgxpool.Conn) (statements []string, err error) {
	rows, err := conn.Query(ctx, `select t.tgrelid, quote_ident(t.tgname) || ' on ' || t.tgrelid::regclass
		from pg_trigger t where t.tgparentid = 0 and t.tgfoid in (select oid from `+syncFunction+`) order by t.tgrelid, t.tgname`, syncName(c.plan, c.step))
	if err != nil {
		return nil, planError(c.doing, err)
	}
	var table uint32
	var trigger string
	_, err = pgx.ForEachRow(rows, []any{&table, &trigger}, func() error {
		c.mode = "access exclusive"
		c.tables = append(c.tables, table)
		statements = append(statements, "drop trigger "+trigger)
		return nil
	})
	return statements, planError(c.doing, err)
}

// lock is for all tables at once, with their partitions, and bounded as a whole: lock_timeout bounds each wait.
func (c *syncChange) lock(ctx context.Context, conn *pgxpool.Conn) ([]string, error) {
	if c.mode == "" {
		return nil, nil
	}
	var names string
	err := conn.QueryRow(ctx, "select coalesce(string_agg(distinct oid::regclass::text, ', '), '') from pg_class where oid = any($1)", c.tables).Scan(&names)
	if err != nil || names == "" {
		return nil, err
	}
	return []string{
		fmt.Sprintf("set local statement_timeout = %d", syncLockTimeout.Milliseconds()),
		"lock table " + names + " in " + c.mode + " mode",
		"reset statement_timeout",
	}, nil
}

// blockers names who holds locks that conflict with ours. It is a report, not a decision: what cannot be read is left out.
func (c *syncChange) blockers(ctx context.Context) string {
	rows, err := c.engine.pool.Query(ctx, `
		with tables as (select unnest($1::oid[]) as oid), parts as (select oid from tables union select p.relid from tables, pg_partition_tree(tables.oid) p)
		select distinct on (l.pid) coalesce(l.pid, 0), coalesce(a.application_name, ''), coalesce(nullif(a.state, ''), a.backend_type, ''),
		       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8
		  from pg_locks l left join pg_stat_activity a on a.pid = l.pid
		 where l.locktype = 'relation' and l.granted and l.pid is distinct from pg_backend_pid()
		   and l.database = (select oid from pg_database where datname = current_database()) and l.relation in (select oid from parts)
		   and ($2 or l.mode not in ('AccessShareLock', 'RowShareLock'))
		 order by l.pid limit $3`, c.tables, c.mode == "access exclusive", syncBlockers)
	if err != nil {
		return ""
	}
	var pid int
	var application, state string
	var age float64
	var names []string
	_, err = pgx.ForEachRow(rows, []any{&pid, &application, &state, &age}, func() error {
		name := fmt.Sprintf("pid %d", pid) // 0 stands for a prepared transaction
		if application != "" {
			name += " (" + application + ")"
		}
		if state != "" {
			name += ", " + state
		}
		if age > 0 {
			name += fmt.Sprintf(" for %s", time.Duration(age*float64(time.Second)).Round(time.Second))
		}
		names = append(names, name)
		return nil
	})
	if err != nil || names == nil {
		return ""
	}
	return ", in the way: " + strings.Join(names, "; ")
}

// rest waits for d, or less when ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
