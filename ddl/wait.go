package ddl

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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
from (select distinct pid from pg_locks where locktype = 'advisory' and granted and classid = 0 and objsubid = 1
        and database = (select oid from pg_database where datname = current_database()) and objid::text = any($1)) l
  left join pg_stat_activity a on a.pid = l.pid
order by l.pid`
)

const migrationLock = "the migration lock"

// look reads who is in the way, for a report: what it can't read is left out.
func (e *Engine) look(ctx context.Context, query string, args ...any) (w Waiting, found bool) {
	w, err := e.blockers(ctx, query, args...)
	return w, err == nil && len(w.Blockers) > 0
}

// blockers reads who is in the way, from a connection of the pool.
func (e *Engine) blockers(ctx context.Context, query string, args ...any) (w Waiting, err error) {
	rows, err := e.pool.Query(ctx, query, args...)
	if err != nil {
		return Waiting{}, withoutAddress(err)
	}
	var (
		b              Blocker
		age, unchanged float64
	)
	_, err = pgx.ForEachRow(rows, []any{&w.Lock, &b.PID, &b.identity, &b.Application, &b.State, &age, &b.began, &b.changed, &unchanged, &b.autovacuum}, func() error {
		b.Age, b.unchanged = seconds(age), seconds(unchanged)
		w.Blockers = append(w.Blockers, b)
		return nil
	})
	if err != nil {
		return Waiting{}, withoutAddress(err)
	}
	return w, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
