package rehearse

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// gatePoll is how often we look whether a statement has come to a gate; it does so within milliseconds.
const gatePoll = 5 * time.Millisecond

// outside runs a statement that can't run in a transaction, whose locks are gone when it ends. Gates hold it up where they can be
// read: first one that lets only readers through, then one that lets everything but ACCESS EXCLUSIVE through, again and again until its
// end.
func (r *recorder) outside(ctx context.Context) error {
	st := r.script.Statements[0]
	told := r.statement(st)
	before, err := readCatalog(ctx, r.watch)
	if err != nil {
		return err
	}
	reader, err := r.shut(ctx, before, "access share")
	if err != nil {
		return err
	}
	defer func() { reader.open(ctx) }()
	first, err := r.shut(ctx, before, "share row exclusive")
	if err != nil {
		return err
	}
	defer first.open(ctx)

	pid, done := r.conn.PgConn().PID(), make(chan error, 1)
	go func() {
		_, err := r.conn.Exec(ctx, st.Text, pgx.QueryExecModeSimpleProtocol)
		done <- err
	}()
	seen := map[lock]bool{}
	ended, err := waitAt(ctx, r.watch, first, pid, done, seen)
	first.open(ctx)
	for err == nil && !ended && reader != nil {
		if ended, err = waitAt(ctx, r.watch, reader, pid, done, seen); err != nil || ended {
			break
		}
		next, refused := r.shut(ctx, before, "access share")
		reader.open(ctx)
		reader = next
		if refused != nil && !lockRefused(refused) { // else ACCESS EXCLUSIVE is what it waits for, and nothing is stronger
			err = refused
		}
	}
	if !ended {
		failed := <-done // the gates are open
		err = errors.Join(err, failed)
	}
	if err != nil {
		if _, ok := errors.AsType[*pgconn.PgError](err); ok {
			return &refusal{st, err}
		}
		return err
	}
	after, err := readCatalog(ctx, r.watch)
	if err != nil {
		return err
	}
	r.judge(told, st, before, after, seen)
	return nil
}

// waitAt returns once the statement stands at the gate, or has ended without an error; the locks it then holds and waits for are
// added to seen.
func waitAt(ctx context.Context, watch *pgx.Conn, at *gate, pid uint32, done chan error, seen map[lock]bool) (ended bool, err error) {
	tick := time.NewTicker(gatePoll)
	defer tick.Stop()
	for {
		var waits bool
		if err := watch.QueryRow(ctx, "select $1 = any(pg_blocking_pids($2))", pgx.QueryExecModeSimpleProtocol, int32(at.pid()), int32(pid)).Scan(&waits); err != nil {
			return false, err
		}
		if waits {
			found, err := readLocks(ctx, watch, pid, true)
			for l := range found {
				seen[l] = true
			}
			return false, err
		}
		select {
		case err := <-done:
			done <- err // for him who asks next
			return err == nil, nil
		case <-tick.C:
		}
	}
}

// gate is a transaction that holds locks on all tables.
type gate struct{ conn *pgx.Conn }

// shut fails with lockRefused if somebody holds or awaits a lock against it.
func (r *recorder) shut(ctx context.Context, all catalog, mode string) (*gate, error) {
	conn, err := r.scratch.keep(ctx)
	if err != nil {
		return nil, err
	}
	sql := "begin"
	for _, rel := range all {
		if rel.kind == "r" || rel.kind == "p" {
			sql += "; lock table only " + pgx.Identifier{rel.name.schema, rel.name.relation}.Sanitize() + " in " + mode + " mode nowait"
		}
	}
	if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		closeConn(ctx, conn)
		if full, ok := errors.AsType[*pgconn.PgError](err); ok && full.Code == stateOutOfMemory {
			return nil, errors.New("the scratch server has no room for a lock on each table: raise its max_locks_per_transaction, or rehearse without --scratch")
		}
		return nil, err
	}
	return &gate{conn}, nil
}

func (g *gate) pid() uint32 { return g.conn.PgConn().PID() }

// open the gate; twice is allowed.
func (g *gate) open(ctx context.Context) {
	if g != nil {
		closeConn(ctx, g.conn)
	}
}

func lockRefused(err error) bool {
	answer, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answer.Code == stateLockNotAvailable
}
