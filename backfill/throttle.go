package backfill

import (
	"context"
	"fmt"
	"math"
	"strings"
)

// Signal is what a Throttle reads.
type Signal string

// The signals that need no query of one's own. Where the role lacks pg_monitor, those that need it hold the lanes and say so.
const (
	// ReplicaLag is the longest replay lag of the standbys, in seconds (pg_stat_replication; needs pg_monitor).
	ReplicaLag Signal = "replica lag"
	// ArchiveBacklog is the WAL files that wait to be archived (pg_ls_archive_statusdir; needs pg_monitor).
	ArchiveBacklog Signal = "WAL archive backlog"
	// LockWaiters are the sessions other than ours that wait for a lock on the table or one of its rows.
	LockWaiters Signal = "lock waiters"
	// ActiveSessions are the client sessions other than ours that work at this moment, in the whole server (needs pg_monitor).
	ActiveSessions Signal = "active sessions"
	// Query is a number that Throttle.Query returns.
	Query Signal = "query"

	// wraparound is the tables whose autovacuum must not wait any longer. It is always read, and more than 0 holds.
	wraparound Signal = "autovacuum that prevents wraparound"
)

// Throttle holds all lanes while its reading is above Max, and until it has been calm for a while. It holds as well while it
// cannot be read.
type Throttle struct {
	// Name that people see. Defaults to the signal.
	Name string
	// Signal to read, and the SQL for Query: one row with one number. It runs in a read-only transaction, for 2 s at most.
	Signal Signal
	Query  string
	// Max reading at which the lanes still work, in the signal's unit.
	Max float64
}

func (t Throttle) check() error {
	_, known := signals[t.Signal]
	switch {
	case t.Signal == Query && (t.Name == "" || strings.TrimSpace(t.Query) == ""):
		return fmt.Errorf("%w: a throttle with a query of its own needs a name and the query", ErrSpec)
	case t.Signal != Query && (!known || t.Signal == wraparound):
		return fmt.Errorf("%w: %q is no signal of a throttle; give %q, %q, %q, %q or %q", ErrSpec, t.Signal, ReplicaLag, ArchiveBacklog, LockWaiters, ActiveSessions, Query)
	case math.IsNaN(t.Max) || math.IsInf(t.Max, 0):
		return fmt.Errorf("%w: throttle %q has no maximum; give the highest number at which the lanes still work", ErrSpec, t.name())
	}
	return nil
}

func (t Throttle) name() string {
	if t.Name != "" {
		return t.Name
	}
	return string(t.Signal)
}

// statement reads the throttle: one row of the reading, and whether the role may not see all that belongs to it. Parameter $1
// is the table.
func (t Throttle) statement() string {
	if t.Signal != Query {
		return signals[t.Signal]
	}
	return "select (\n" + strings.TrimRight(t.Query, "; \t\r\n") + "\n)::float8, false where $1::regclass is not null"
}

// inspectThrottles has the planner check the queries of throttles, so that a slip of the pen shows before the first row.
func (e *Engine) inspectThrottles(ctx context.Context, spec Spec, table string) error {
	for _, t := range spec.Throttles {
		if t.Signal != Query {
			continue
		}
		doing := fmt.Sprintf("%s: check the query of throttle %q", spec.name(), t.name())
		if err := e.selfContained(ctx, doing, t.statement(), 1); err != nil {
			return err
		}
		rows, err := e.pool.Query(ctx, "explain "+t.statement(), table)
		if err == nil {
			rows.Close()
			err = rows.Err()
		}
		if err != nil {
			return e.failed(ctx, planError(doing, err))
		}
	}
	return nil
}

const (
	// ours tells the sessions of this and other lanes from the application's, in columns that everybody may see.
	ours = `(s.usename = current_user and s.application_name = current_setting('application_name') or s.pid = pg_backend_pid())`
	// tables are the table and its partitions.
	tables = `with tables as materialized (select $1::regclass::oid as oid union select relid from pg_partition_tree($1::regclass)) `
)

// signals are the statements of those that have one. To a role that may not see them, Postgres shows the rows of others'
// sessions with nulls.
var signals = map[Signal]string{
	// A standby that has replayed everything has no lag, as long as nothing is written.
	ReplicaLag: `select coalesce(extract(epoch from max(replay_lag)), 0)::float8, coalesce(bool_or(state is null), false)
		from pg_stat_replication where $1::regclass is not null`,
	ArchiveBacklog: `select count(*)::float8, false from pg_ls_archive_statusdir() where name like '%.ready' and $1::regclass is not null`,
	ActiveSessions: `select count(*) filter (where backend_type = 'client backend' and state in ('active', 'fastpath function call'))::float8,
		coalesce(bool_or(backend_type is null and usesysid is not null), false)
		from pg_stat_activity s where not ` + ours + ` and $1::regclass is not null`,
	// Who waits for a row waits for the transaction that has changed it, with a lock on the table in hand.
	LockWaiters: tables + `select count(distinct w.pid)::float8, false from pg_locks w
		where not w.granted and not exists (select from pg_stat_activity s where s.pid = w.pid and ` + ours + `)
		and (w.database = (select oid from pg_database where datname = current_database()) and w.relation in (select oid from tables)
			or w.locktype = 'transactionid' and exists (select from pg_locks h where h.pid = w.pid and h.granted and h.locktype = 'relation'
				and h.database = (select oid from pg_database where datname = current_database()) and h.relation in (select oid from tables)))`,
	// An autovacuum that prevents wraparound does not give way when somebody waits for it, and updates make it start over. Only
	// the table's own setting can make it begin earlier than the server's.
	wraparound: tables + `select count(*)::float8, false from pg_class c
		cross join lateral (select min(option_value::bigint) filter (where option_name = 'autovacuum_freeze_max_age') as xids,
			min(option_value::bigint) filter (where option_name = 'autovacuum_multixact_freeze_max_age') as multixacts
			from pg_options_to_table(c.reloptions)) o
		where c.oid in (select oid from tables) and c.relkind = 'r'
		and (age(c.relfrozenxid) > least(current_setting('autovacuum_freeze_max_age')::bigint, o.xids)
			or mxid_age(c.relminmxid) > least(current_setting('autovacuum_multixact_freeze_max_age')::bigint, o.multixacts))
		and exists (select from pg_locks l where l.locktype = 'relation' and l.relation = c.oid and l.granted and l.mode = 'ShareUpdateExclusiveLock'
			and l.database = (select oid from pg_database where datname = current_database())
			and not exists (select from pg_stat_activity s where s.pid = l.pid and ` + ours + `))`,
}
