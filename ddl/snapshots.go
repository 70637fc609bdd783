package ddl

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// oldTransaction is an age that a change which waits for transactions doesn't wait for with its work begun: most of what an
// application does is over long before, and what is younger costs the change no more than this.
const oldTransaction = 5 * time.Second

// older are the transactions that a statement waits for before it can end.
type older struct {
	tables    []string // or indexes, for theirs: those that hold a lock on one of them
	readers   bool     // counts those too that have only read the table
	snapshots bool     // and all of the database that hold a snapshot
}

// olderOf follows WaitForLockers and WaitForOlderSnapshots in Postgres's own source (storage/lmgr/lmgr.c, commands/indexcmds.c): VACUUM,
// builds of other plain indexes and prepared transactions hold no snapshot that counts. Who waits for us, or for one who does, is
// left out, for Postgres has to end such a deadlock. An autovacuum worker has no user. Of those whose age our role may see, it finds
// the old ones; whom they wait for is asked only where there are any, since that stops Postgres's lock table for a moment.
const olderOf = `
with recursive touched as (
  select coalesce((select i.indrelid from pg_index i where i.indexrelid = to_regclass(name)), to_regclass(name)) as relid from unnest($2::text[]) name
), holder as (
  select distinct l.pid, l.virtualtransaction from pg_locks l
  where l.locktype = 'relation' and l.granted and l.relation in (select relid from touched)
    and l.database = (select oid from pg_database where datname = current_database())
    and ($3 or l.mode not in ('AccessShareLock', 'RowShareLock'))
), harmless as (
  select pid from pg_stat_progress_vacuum
  union select p.pid from pg_stat_progress_create_index p join pg_index i on i.indexrelid = p.index_relid where i.indexprs is null and i.indpred is null
), backend as materialized (
  select * from pg_stat_activity a
  where a.datname = current_database() and a.pid not in ($1, pg_backend_pid()) and a.usesysid is not null
    and (a.xact_start is null or a.xact_start <= clock_timestamp() - make_interval(secs => $5))
    and ($4 and a.backend_xmin is not null and a.pid not in (select pid from harmless) or a.pid in (select pid from holder))
), waits as materialized (
  select l.pid, unnest(pg_blocking_pids(l.pid)) as by from (select distinct pid from pg_locks where not granted) l where exists (select from backend)
), behind as (
  select pid from waits where by = $1 union select w.pid from waits w join behind b on w.by = b.pid
)
select '` + oldTransactions + `', a.pid,
       coalesce((select l.virtualtransaction from pg_locks l where l.pid = a.pid and l.locktype = 'virtualxid' and l.granted limit 1), ''),
       ` + backend + `
from backend a where a.pid not in (select pid from behind)
union all
select '` + oldTransactions + `', 0, h.virtualtransaction, '', '', extract(epoch from clock_timestamp() - x.prepared)::float8, 'epoch', 'epoch', 0, false
from holder h join pg_locks own on own.virtualtransaction = h.virtualtransaction and own.pid is null and own.locktype = 'transactionid'
  join pg_prepared_xacts x on x.transaction = own.transactionid
where h.pid is null
order by 2`

const oldTransactions = "the end of old transactions, which it would wait for"

// failedLooks in a row end a wait: what was not seen must not pass for absent.
const failedLooks = 3

// await returns when no old transaction is left for which the statement would wait with its work begun. Meanwhile it holds
// nothing but the migration lock.
func (o *observer) await(ctx context.Context, s *session, what older) error {
	o.setAside(true)
	defer o.setAside(false)
	var (
		began  = time.Now()
		seen   = map[string]time.Time{} // transactions whose age our role may not see
		first  = true
		failed = 0
		every  = lookEvery
	)
	for {
		w, err := o.engine.blockers(ctx, olderOf, int32(s.pid()), what.tables, what.readers, what.snapshots, o.engine.old.Seconds())
		if err != nil {
			if failed++; ctx.Err() != nil || failed == failedLooks {
				return fmt.Errorf("see which old transactions the statement would wait for: %w", err)
			}
		} else {
			failed = 0
			w.Blockers = slices.DeleteFunc(w.Blockers, func(b Blocker) bool {
				if b.Age > 0 {
					return b.Age < o.engine.old
				}
				since, known := seen[b.identity]
				if !known {
					since = time.Now()
					if first { // it may be of any age
						since = began.Add(-o.engine.old)
					}
					seen[b.identity] = since
				}
				return time.Since(since) < o.engine.old
			})
			first = false
			if len(w.Blockers) == 0 {
				o.over(oldTransactions)
				return nil
			}
			o.saw(ctx, w, true)
		}
		if err := pause(ctx, every); err != nil {
			return fmt.Errorf("wait for old transactions: %w", err)
		}
		every = min(2*every, longestPause)
		// A connection that stands still would not notice that it is gone, and with it the migration lock.
		if err := s.conn.Ping(ctx); err != nil {
			return fmt.Errorf("wait for old transactions: %w", err)
		}
	}
}
