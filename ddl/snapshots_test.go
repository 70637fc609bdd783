package ddl

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var building = map[string]string{
	"1_a.up.sql": "create table a (n int); create table elsewhere (n int); create index a_old on a (n)",
	"2_b.up.sql": buildIndex,
	"3_c.up.sql": noTransactionHeader + "\ndrop index concurrently a_old",
}

func TestABuildBeginsWhenOldTransactionsHaveEnded(t *testing.T) {
	t.Parallel()
	b := setup(t, building)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	report := b.holdSnapshot(t, "old report")
	b.age(t, "old report")
	var told waits
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 2, "")
	}()
	require.Eventually(t, told.any(func(w Waiting) bool {
		return w.Lock == oldTransactions && len(w.Blockers) == 1 && w.Blockers[0].Application == "old report" && w.Blockers[0].Age >= oldTransaction
	}), patience, look)
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"), "nothing has begun")
	require.False(t, b.has(t, "a_n"))
	require.Zero(t, one[int](t, b, `select count(*)::int from pg_locks l join pg_stat_activity a using (pid)
		where a.datname = current_database() and a.application_name = 'ddl test' and l.locktype = 'relation' and l.relation > 16384`))

	// Who waits for our own migration lock, like golang-migrate does, with a snapshot, is not waited for: it would never end.
	theirs := b.db.Connect(t)
	_, err := theirs.Exec(t.Context(), "set application_name = 'queue'")
	require.NoError(t, err)
	queued := make(chan error, 1)
	go func() {
		_, err := theirs.Exec(t.Context(), `select pg_advisory_lock(objid::bigint) from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database()) limit 1`)
		if err == nil { // it had its turn, as after a deadlock that ended ours
			_, err = theirs.Exec(t.Context(), "select pg_advisory_unlock_all()")
		}
		queued <- err
	}()
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select exists (select from pg_stat_activity where datname = current_database() and application_name = 'queue' and wait_event_type = 'Lock')")
	}, patience, look)
	b.age(t, "queue")
	_, err = report.Exec(t.Context(), "commit")
	require.NoError(t, err)
	require.NoError(t, <-result)
	require.True(t, told.any(func(w Waiting) bool { return !w.Waits() })(), "the end of the wait is told")
	b.requireDone(t)
	<-queued // Postgres may have ended it
}

func TestWhoIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, building)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.holdSnapshot(t, "elsewhere")
	_, err := b.db.Connect(t).Exec(t.Context(), "begin; set application_name = 'elsewhere'; select from elsewhere")
	require.NoError(t, err)
	b.age(t, "elsewhere")
	b.exec(t, "update schema_migrations set version = 2")
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: func(w Waiting) { require.NotEqual(t, oldTransactions, w.Lock) }})
	require.NoError(t, e.Up(t.Context(), 3, ""), "a drop waits for those alone that use the table")
	require.False(t, b.has(t, "a_old"))
}

func TestAnOldReaderOfTheTableHoldsItsIndexesDrop(t *testing.T) {
	t.Parallel()
	b := setup(t, building)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.exec(t, "update schema_migrations set version = 2")
	_, end := b.reading(t)
	b.age(t, "slow report")
	var told waits
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 3, "")
	}()
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Lock == oldTransactions }), patience, look)
	require.True(t, one[bool](t, b, "select indisvalid from pg_index where indexrelid = 'a_old'::regclass"), "the drop has not begun")
	end()
	require.NoError(t, <-result)
	require.False(t, b.has(t, "a_old"))
}

func TestAnOldSnapshotThatIdlesIsEnded(t *testing.T) {
	t.Parallel()
	b := setup(t, building)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	report := b.holdSnapshot(t, "old report")
	b.age(t, "old report")
	var told waits
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, KillIdleAfter: time.Second, OnWait: told.add})
	require.NoError(t, e.Up(t.Context(), 2, ""))
	require.Error(t, report.Ping(t.Context()))
	require.True(t, told.any(func(w Waiting) bool { return len(w.Ended) == 1 && w.Ended[0].Application == "old report" })())
}

func TestProgressOfABuildIsTold(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{
		"1_a.up.sql": "create table a (n int); insert into a select generate_series(1, 100)",
		"2_b.up.sql": buildIndex,
	})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	writer := b.db.Connect(t)
	_, err := writer.Exec(t.Context(), "begin; insert into a values (1)")
	require.NoError(t, err)
	var told waits
	result := make(chan error, 1)
	go func() {
		result <- b.unafraid(Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 2, "")
	}()
	require.Eventually(t, told.any(func(w Waiting) bool {
		return w.Progress == "waiting for writers before build" && len(w.Blockers) == 1 && w.Blockers[0].PID == int(writer.PgConn().PID())
	}), patience, look)
	_, err = writer.Exec(t.Context(), "commit")
	require.NoError(t, err)
	require.NoError(t, <-result)

	require.Equal(t, "building index: scanning table, 43 % of 12,000 blocks", progressText("building index: scanning table", 5_160, 12_000, 0, 0))
	require.Equal(t, "index validation: sorting tuples, 50 % of 1,234,567 rows", progressText("index validation: sorting tuples", 7, 7, 617_284, 1_234_567))
	require.Equal(t, "waiting for old snapshots", progressText("waiting for old snapshots", 7, 7, 7, 7))
}
