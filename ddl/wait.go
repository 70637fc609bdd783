package ddl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// lookEvery is how often a session is looked at: soon enough to tell of a wait, too seldom to be felt.
	lookEvery = 100 * time.Millisecond
	// looksPerAttempt makes sure that a short lock_timeout doesn't pass unseen.
	looksPerAttempt = 4
)

// Waiting is what stands in the way of a change.
type Waiting struct {
	Lock     string        // for example "AccessExclusiveLock on customers", or "the migration lock"; empty if it was over too soon to be seen
	Blockers []Blocker     // who holds it or stands before us in its queue
	Attempt  int           // from 1
	RetryIn  time.Duration // 0 while this attempt still waits; else it was rolled back and the next one comes after about this long
}

// String is one line for people.
func (w Waiting) String() string {
	lock := w.Lock
	if lock == "" {
		lock = "a lock"
	}
	if len(w.Blockers) == 0 {
		return lock
	}
	names := make([]string, len(w.Blockers))
	for i, b := range w.Blockers {
		names[i] = b.String()
	}
	return fmt.Sprintf("%s, blocked by %s", lock, strings.Join(names, "; "))
}

// Blocker is a backend as pg_stat_activity shows it to our role, without its query.
type Blocker struct {
	PID         int           // 0 stands for a prepared transaction
	Application string        // application_name
	State       string        // "active", "idle in transaction", …; empty if our role may not see it
	Age         time.Duration // of its transaction; 0 if it has none or our role may not see it
}

func (b Blocker) String() string {
	text := fmt.Sprintf("pid %d", b.PID)
	if b.Application != "" {
		text += fmt.Sprintf(" (%s)", b.Application)
	}
	if b.State != "" {
		text += ", " + b.State
	}
	if b.Age > 0 {
		text += fmt.Sprintf(" for %s", b.Age.Round(time.Second))
	}
	return text
}

const (
	blockersOf = `
select coalesce((select l.mode || ' on ' || coalesce(l.relation::regclass::text, l.locktype)
                 from pg_locks l where l.pid = $1 and not l.granted limit 1), ''),
       b.pid, coalesce(a.application_name, ''), coalesce(a.state, ''),
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8
from (select distinct unnest(pg_blocking_pids($1)) as pid) b left join pg_stat_activity a on a.pid = b.pid
order by b.pid`

	// A one-key advisory lock shows as objsubid 1; golang-migrate's ids fit the lower half.
	holdersOf = `
select 'the migration lock', l.pid, coalesce(a.application_name, ''), coalesce(a.state, ''),
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8
from pg_locks l left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.classid = 0 and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database())
  and l.objid::text = any($1)
order by l.pid`
)

// look reads who is in the way, from a connection of the pool. It is a report, not a decision: what it can't read is left out.
func (e *Engine) look(ctx context.Context, query string, arg any) (w Waiting, found bool) {
	rows, err := e.pool.Query(ctx, query, arg)
	if err != nil {
		return Waiting{}, false
	}
	defer rows.Close()
	for rows.Next() {
		var (
			b   Blocker
			age float64
		)
		if rows.Scan(&w.Lock, &b.PID, &b.Application, &b.State, &age) != nil {
			return Waiting{}, false
		}
		b.Age = time.Duration(age * float64(time.Second))
		w.Blockers = append(w.Blockers, b)
	}
	return w, len(w.Blockers) > 0 && rows.Err() == nil
}

// observer tells of waits during one attempt. Its methods are called one at a time.
type observer struct {
	engine  *Engine
	attempt int
	last    Waiting
}

// saw passes on what has changed.
func (o *observer) saw(w Waiting) {
	w.Attempt = o.attempt
	sameBlockers := slices.EqualFunc(w.Blockers, o.last.Blockers, func(a, b Blocker) bool { return a.PID == b.PID && a.State == b.State })
	if sameBlockers && w.Lock == o.last.Lock {
		return
	}
	o.last = w
	o.engine.options.onWait(w)
}

// refused is called when the migration lock could not be taken.
func (o *observer) refused(ctx context.Context, s *session) {
	if w, found := o.engine.look(ctx, holdersOf, s.locks); found {
		o.saw(w)
	}
}

// watch looks at the session's waits until stop, which returns when the last look is over.
func (o *observer) watch(ctx context.Context, s *session) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	pid := s.pid()
	go func() {
		defer close(done)
		ticker := time.NewTicker(min(lookEvery, o.engine.options.LockTimeout/looksPerAttempt))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if w, found := o.engine.look(ctx, blockersOf, int32(pid)); found {
					o.saw(w)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
