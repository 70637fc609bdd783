package ddl

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Autovacuum gives way to whoever has waited for deadlock_timeout (1 s), and lock_timeout gives up before. So once it was met, the
// next attempt first waits for a lock that autovacuum's alone is in the way of: the application's reads and writes pass it.

// politeShare is how many deadlock_timeouts are waited: after one autovacuum is told to end, and it looks for that between pages.
const politeShare = 2

// waitedFor are the tables, or those of the indexes, for whose locks a session waits and that LOCK TABLE takes.
const waitedFor = `
select n.nspname, c.relname, (select setting::int8 from pg_settings where name = 'deadlock_timeout') from pg_locks l left join pg_index i on i.indexrelid = l.relation
  join pg_class c on c.oid = coalesce(i.indrelid, l.relation) join pg_namespace n on n.oid = c.relnamespace
where l.pid = $1 and not l.granted and l.locktype = 'relation' and c.relkind in ('r', 'p')`

const vacuumHint = "autovacuum gives way to the next attempt, unless it works to prevent wraparound: then its end is waited for"

// meetsAutovacuum remembers the table for the next attempt.
func (o *observer) meetsAutovacuum(ctx context.Context, w *Waiting) {
	if w.Lock == migrationLock || w.Lock == oldTransactions || !slices.ContainsFunc(w.Blockers, func(b Blocker) bool { return b.autovacuum }) {
		return
	}
	if w.Hint == "" {
		w.Hint = vacuumHint
	}
	var schema, name string
	if o.engine.pool.QueryRow(ctx, waitedFor, o.pid).Scan(&schema, &name, &o.deadlock) != nil {
		return // the wait is over, or LOCK TABLE doesn't know its kind
	}
	if table := (pgx.Identifier{schema, name}).Sanitize(); !slices.Contains(o.vacuums, table) {
		o.vacuums = append(o.vacuums, table)
	}
}

func (o *observer) metAutovacuum() (tables []string, deadlockTimeout int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.vacuums), o.deadlock
}

// dismissAutovacuum takes the lock that autovacuum gives way to, in the transaction that is open.
func (d *driver) dismissAutovacuum() error {
	if d.session.observer == nil {
		return nil
	}
	usual := d.session.lockTimeout.Milliseconds()
	tables, deadlockTimeout := d.session.observer.metAutovacuum()
	for _, table := range tables {
		sql := fmt.Sprintf("set local lock_timeout = %d; lock table %s in share update exclusive mode; set local lock_timeout = %d",
			max(politeShare*deadlockTimeout, usual), table, usual)
		if _, err := execute(d.ctx, d.session.conn, sql); err != nil {
			return statementError(d.file.name, script{}, 0, err)
		}
	}
	return nil
}

// dismissBefore does so in a transaction of its own, for a statement that can't be in one: autovacuum comes back after a while.
func (d *driver) dismissBefore() error {
	if d.session.observer == nil {
		return nil
	}
	if tables, _ := d.session.observer.metAutovacuum(); len(tables) == 0 {
		return nil
	}
	return pgx.BeginFunc(d.ctx, d.session.conn, func(pgx.Tx) error { return d.dismissAutovacuum() })
}
