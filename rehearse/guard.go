package rehearse

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// patience is how long a session of ours on the target may wait for a lock, or have somebody wait for it. Whoever wants to
	// change a table queues behind it meanwhile, and everybody else behind him: a second is what an application bears.
	patience = time.Second
	// patiencePoll costs the target ten looks at its locks per second.
	patiencePoll = 100 * time.Millisecond
)

// inTheWay says why a reading of the target was ended.
type inTheWay string

func (e inTheWay) Error() string { return string(e) }

// guard ends a reading session of the target's before it holds anybody up. Postgres has no such bound: lock_timeout is for one
// wait, pg_dump switches it off, and nothing bounds how long others wait for us.
type guard struct {
	config *pgx.ConnConfig // to watch from
	end    string          // the function that ends the reading: pg_cancel_backend or pg_terminate_backend
	after  time.Duration   // of waiting; patience if 0
}

// Locks are visible to every role, which pg_stat_activity's waits are not.
const conflict = `select w.pid = $1, coalesce(w.relation::regclass::text, ''), case when w.pid = $1 then (pg_blocking_pids(w.pid))[1] else w.pid end
	from pg_locks w where not w.granted and (w.pid = $1 or $1 = any(pg_blocking_pids(w.pid))) order by 1 desc limit 1`

// watch the session pid until ctx ends; an inTheWay says that it was ended.
func (g guard) watch(ctx context.Context, pid uint32) error {
	conn, err := pgx.ConnectConfig(ctx, g.config)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("watch the reading of the target: %w", withoutAddress(err))
	}
	defer closeConn(ctx, conn)
	tick := time.NewTicker(patiencePoll)
	defer tick.Stop()
	since := time.Now()
	for {
		why, err := look(ctx, conn, pid)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("watch the reading of the target: %w", err)
		case why == "":
			since = time.Now()
		case time.Since(since) >= cmp.Or(g.after, patience):
			if _, err := conn.Exec(ctx, "select "+g.end+"($1)", int32(pid)); err != nil && ctx.Err() == nil {
				return fmt.Errorf("end the reading of the target, which is in somebody's way: %w", err)
			}
			return why
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func look(ctx context.Context, conn *pgx.Conn, pid uint32) (inTheWay, error) {
	rows, err := conn.Query(ctx, conflict, int32(pid))
	if err != nil {
		return "", err
	}
	var (
		why      inTheWay
		ours     bool
		relation string
		other    *int32 // nil if it has just ended
	)
	_, err = pgx.ForEachRow(rows, []any{&ours, &relation, &other}, func() error {
		if relation == "" {
			relation = "a relation"
		}
		who := "another session"
		if other != nil {
			who = fmt.Sprintf("the session with pid %d", *other)
		}
		why = inTheWay(fmt.Sprintf("gave way: it held a lock on %s that %s waited for; rehearse again when nobody changes tables", relation, who))
		if ours {
			why = inTheWay(fmt.Sprintf("gave way: %s holds a lock on %s; see who it is in pg_stat_activity, and rehearse again when it has ended", who, relation))
		}
		return nil
	})
	return why, err
}

// over runs do, and watches the session pid meanwhile. do's context ends as soon as the session was ended.
func (g guard) over(ctx context.Context, pid uint32, do func(context.Context) error) error {
	inner, stop := context.WithCancelCause(ctx)
	watched := make(chan error, 1)
	go func() {
		err := g.watch(inner, pid)
		if err != nil {
			stop(err)
		}
		watched <- err
	}()
	err := do(inner)
	stop(nil)
	if why := <-watched; why != nil {
		return why
	}
	return err
}
