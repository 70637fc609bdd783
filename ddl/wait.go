package ddl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// lookEvery is how often a session is looked at: soon enough to tell of a wait, too seldom to be felt.
	lookEvery = 100 * time.Millisecond
	// looksPerAttempt makes sure that a short lock_timeout doesn't pass unseen.
	looksPerAttempt = 4
	// calmLooks without a wait make it over: an attempt needs a moment before it stands in a queue again.
	calmLooks = 10
)

// Waiting is what stands in the way of a change, and how far it has come.
type Waiting struct {
	Lock     string        // for example "AccessExclusiveLock on customers", or "the migration lock"; empty if it was over too soon to be seen
	Blockers []Blocker     // who holds it or stands before us in its queue
	Attempt  int           // from 1
	RetryIn  time.Duration // 0 while this attempt still waits; else it was rolled back and the next one comes after about this long
	Ended    []Ended       // sessions that were ended to make way for this change, oldest first
	Hint     string        // what keeps KillIdleAfter from being done, and the way out; empty if nothing
	Progress string        // of an index that is being built, waiting or not: "building index: scanning table, 43 % of 12,000 blocks"
}

// Waits tells that something is in the way; false once the wait is over.
func (w Waiting) Waits() bool { return w.Lock != "" || len(w.Blockers) > 0 || w.RetryIn > 0 }

// String is one line for people, without the progress; empty when nothing is in the way.
func (w Waiting) String() string {
	if !w.Waits() {
		return ""
	}
	text := w.Lock
	if text == "" {
		text = "a lock"
	}
	if len(w.Blockers) > 0 {
		text += ", blocked by " + join(w.Blockers)
	}
	if len(w.Ended) > 0 {
		text += "; ended " + join(w.Ended)
	}
	if w.Hint != "" {
		text += "; " + w.Hint
	}
	return text
}

func join[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = one.String()
	}
	return strings.Join(texts, "; ")
}

// Blocker is a backend as pg_stat_activity shows it to our role, without its query.
type Blocker struct {
	PID         int           // 0 stands for a prepared transaction
	Application string        // application_name
	State       string        // "active", "idle in transaction", …; empty if our role may not see it
	Age         time.Duration // of its transaction; 0 if it has none or our role may not see it

	began time.Time // of the backend; with changed it tells this session's standstill from any other
	// changed is when it came into its state, and unchanged how long ago.
	changed   time.Time
	unchanged time.Duration
	identity  string // of its transaction
	// autovacuum marks one of Postgres's own, which give way to whoever waits for longer than deadlock_timeout.
	autovacuum bool
}

func (b Blocker) String() string {
	text := fmt.Sprintf("pid %d", b.PID)
	if b.PID == 0 {
		text = "a prepared transaction (see pg_prepared_xacts)"
	}
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

// backend is what each look reads of a backend; a is its row in pg_stat_activity, if it has one.
// An autovacuum worker is the one kind that works in a database for no user, and hides everything else from other roles.
const backend = `case when a.datid is not null and a.usesysid is null then '` + autovacuum + `' else coalesce(a.application_name, '') end, coalesce(a.state, ''),
       coalesce(extract(epoch from clock_timestamp() - a.xact_start), 0)::float8,
       coalesce(a.backend_start, 'epoch'), coalesce(a.state_change, 'epoch'),
       coalesce(extract(epoch from clock_timestamp() - a.state_change), 0)::float8,
       a.datid is not null and a.usesysid is null`

// autovacuum is its workers' name.
const autovacuum = "autovacuum"

const (
	blockersOf = `
select coalesce((select case l.locktype when 'virtualxid' then 'the end of an older transaction' when 'transactionid' then 'the end of a transaction'
                        else l.mode || ' on ' || coalesce(l.relation::regclass::text, l.locktype) end
                 from pg_locks l where l.pid = $1 and not l.granted limit 1), ''),
       b.pid, '', ` + backend + `
from (select distinct unnest(pg_blocking_pids($1)) as pid) b left join pg_stat_activity a on a.pid = b.pid
order by b.pid`

	// A one-key advisory lock shows as objsubid 1; golang-migrate's ids fit the lower half.
	holdersOf = `
select '` + migrationLock + `', l.pid, '', ` + backend + `
from pg_locks l left join pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.classid = 0 and l.objsubid = 1
  and l.database = (select oid from pg_database where datname = current_database())
  and l.objid::text = any($1)
order by l.pid`
)

const migrationLock = "the migration lock"

// look reads who is in the way, from a connection of the pool. It is a report, not a decision: what it can't read is left out.
func (e *Engine) look(ctx context.Context, query string, args ...any) (w Waiting, found bool) {
	rows, err := e.pool.Query(ctx, query, args...)
	if err != nil {
		return Waiting{}, false
	}
	defer rows.Close()
	for rows.Next() {
		var (
			b              Blocker
			age, unchanged float64
		)
		if rows.Scan(&w.Lock, &b.PID, &b.identity, &b.Application, &b.State, &age, &b.began, &b.changed, &unchanged, &b.autovacuum) != nil {
			return Waiting{}, false
		}
		b.Age, b.unchanged = seconds(age), seconds(unchanged)
		w.Blockers = append(w.Blockers, b)
	}
	return w, len(w.Blockers) > 0 && rows.Err() == nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// observer tells of waits while one version is being changed, over all attempts.
type observer struct {
	engine *Engine

	mu      sync.Mutex
	attempt int
	pid     int32   // of the session that is watched
	last    Waiting // as told
	calm    int     // looks since something was in the way
	aside   bool    // the session does nothing that could wait: see older
	ended   []Ended
	vacuums []string // tables on which autovacuum was met
}

// next begins another attempt.
func (o *observer) next() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.attempt++
	o.calm = 0
}

// saw passes on what has changed; found is false if nothing is in the way.
func (o *observer) saw(ctx context.Context, w Waiting, found bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found {
		o.calm = 0
		if w.Lock == "" { // it was over while we looked, and is awaited again
			w.Lock = o.last.Lock
		}
		w.Hint = o.endIdle(ctx, w.Blockers)
		o.meetsAutovacuum(ctx, &w)
	} else if o.calm++; o.last.Waits() && o.calm < calmLooks {
		return
	}
	o.tell(w)
}

func (o *observer) tell(w Waiting) {
	w.Attempt, w.Ended = o.attempt, o.ended
	sameBlockers := slices.EqualFunc(w.Blockers, o.last.Blockers, func(a, b Blocker) bool { return a.PID == b.PID && a.State == b.State })
	sameAttempt := w.Attempt == o.last.Attempt || !w.Waits() && !o.last.Waits() // one that meets nothing is no news
	if sameBlockers && sameAttempt && w.Lock == o.last.Lock && w.RetryIn == o.last.RetryIn && w.Progress == o.last.Progress &&
		w.Hint == o.last.Hint && len(w.Ended) == len(o.last.Ended) {
		return
	}
	o.last = w
	o.engine.options.onWait(w)
}

// gaveWay tells that the attempt was rolled back, and when the next one comes.
func (o *observer) gaveWay(backoff time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.last
	w.RetryIn, w.Progress = backoff, ""
	o.tell(w)
}

// over ends the wait for lock, or for anything.
func (o *observer) over(lock string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last.Waits() && (lock == "" || o.last.Lock == lock) {
		o.tell(Waiting{})
	}
}

// refused is called when the migration lock could not be taken.
func (o *observer) refused(ctx context.Context, s *session) {
	if w, found := o.engine.look(ctx, holdersOf, s.locks); found {
		o.saw(ctx, w, true)
	}
}

// watch looks at the session's waits until stop, which returns when the last look is over.
func (o *observer) watch(ctx context.Context, s *session) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	pid := int32(s.pid())
	o.mu.Lock()
	o.pid = pid
	o.mu.Unlock()
	go func() {
		defer close(done)
		ticker := time.NewTicker(min(lookEvery, o.engine.options.LockTimeout/looksPerAttempt))
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				o.lookAt(ctx, pid)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (o *observer) lookAt(ctx context.Context, pid int32) {
	if o.isAside() {
		return
	}
	w, found := o.engine.look(ctx, blockersOf, pid)
	w.Progress = o.engine.progress(ctx, pid)
	if ctx.Err() == nil && !o.isAside() {
		o.saw(ctx, w, found)
	}
}

func (o *observer) isAside() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.aside
}

func (o *observer) setAside(aside bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.aside = aside
}
