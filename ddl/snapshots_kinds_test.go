package ddl

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// onIndex is a database in which version 2 builds an index.
func onIndex(t *testing.T) bundle {
	t.Helper()
	b := cluster(t, nil)
	b.files = read(t, map[string]string{"1_a.up.sql": three["001_a.up.sql"], "2_b.up.sql": noTransactionHeader + "\ncreate index concurrently a_n on a (id)"})
	return b
}

// Postgres waits for the snapshots of logical replication's initial copies too.
func TestAnOldSnapshotOfAReplicationIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := onIndex(t)
	super := b.db
	super.DSN = b.db.SuperDSN
	super.Exec(t, "alter role migrator replication")
	config, err := pgx.ParseConfig(b.db.DSN)
	require.NoError(t, err)
	config.RuntimeParams["replication"] = "database"
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	copies, err := pgx.ConnectConfig(t.Context(), config)
	require.NoError(t, err)
	say := func(sql string) {
		_, err := copies.PgConn().Exec(t.Context(), sql).ReadAll()
		require.NoError(t, err)
	}
	for _, sql := range []string{"set application_name = 'initial copy'", "begin isolation level repeatable read", "select 1"} {
		say(sql)
	}
	var told waits // Postgres hides how old a walsender's transaction is, so it counts as old where it was there before us
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 2, "")
	}()
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Lock == oldTransactions && w.Blockers[0].Application == "initial copy" }), patience, look)
	require.False(t, b.has(t, "a_n"))
	say("commit")
	require.NoError(t, <-result)
}

func TestWhatCannotBeSeenDoesNotPassForAbsent(t *testing.T) {
	t.Parallel()
	b := onIndex(t)
	super := b.db
	super.DSN = b.db.SuperDSN
	super.Exec(t, "revoke select on pg_prepared_xacts from public")
	err := b.engine("p").Up(t.Context(), 2, "")
	require.ErrorContains(t, err, "see which old transactions")
	require.ErrorContains(t, err, "pg_prepared_xacts")
	require.False(t, b.has(t, "a_n"))
	super.Exec(t, "grant select on pg_prepared_xacts to migrator")
	require.NoError(t, b.engine("p").Up(t.Context(), 2, ""))
}

// looksFor reads, with the query of a build of a's or of a drop, whom it would wait for.
func (b bundle) looksFor(t *testing.T, self uint32, what older) (applications []string) {
	t.Helper()
	w, err := b.engine("p").blockers(t.Context(), olderOf, int32(self), what.tables, what.readers, what.snapshots, 0.0)
	require.NoError(t, err)
	for _, b := range w.Blockers {
		applications = append(applications, b.Application)
	}
	return applications
}

// beside runs a statement, whatever becomes of it, and until the test ends at most.
func beside(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Exec(t.Context(), sql)
	}()
	t.Cleanup(func() { <-done })
}

// blocked runs a statement in a transaction of an application's, and returns when it waits for a lock.
func (b bundle) blocked(t *testing.T, application, before, sql string) *pgx.Conn {
	t.Helper()
	conn := b.db.Connect(t)
	_, err := conn.Exec(t.Context(), "set application_name = '"+application+"'; "+before)
	require.NoError(t, err)
	beside(t, conn, sql)
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select exists (select from pg_locks where pid = $1 and not granted)", int32(conn.PgConn().PID()))
	}, patience, look)
	return conn
}

func TestWhoWaitsForUsInAChainIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b := setup(t, building)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.exec(t, "insert into elsewhere values (1)")
	ours, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	defer ours.close(t.Context())
	_, err = ours.conn.Exec(t.Context(), "select pg_advisory_lock(7)")
	require.NoError(t, err)
	b.blocked(t, "near", "begin isolation level repeatable read; update elsewhere set n = 2", "select pg_advisory_lock(7)")
	b.blocked(t, "far", "begin isolation level repeatable read; select 1", "update elsewhere set n = 3")
	b.holdSnapshot(t, "free")
	require.Equal(t, []string{"free"}, b.looksFor(t, ours.pid(), older{tables: []string{"a"}, snapshots: true}))
	_, err = ours.conn.Exec(t.Context(), "select pg_advisory_unlock(7)")
	require.NoError(t, err)
}

// Postgres doesn't wait for VACUUM nor for plain builds of other tables; for those that evaluate expressions it does.
func TestBuildsAndVacuumsAreHarmless(t *testing.T) {
	t.Parallel()
	b := setup(t, map[string]string{"1_a.up.sql": building["1_a.up.sql"] + `; create table other (n int);
		insert into elsewhere select generate_series(1, 10000); delete from elsewhere where n % 2 = 0; insert into other values (1); alter table elsewhere set (autovacuum_enabled = false)`})
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	building := older{tables: []string{"a"}, snapshots: true}
	vacuums := b.db.Connect(t)
	_, err := vacuums.Exec(t.Context(), "set application_name = 'vacuum'; set vacuum_cost_delay = 100; set vacuum_cost_limit = 1")
	require.NoError(t, err)
	beside(t, vacuums, "vacuum elsewhere")
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select exists (select from pg_stat_activity join pg_stat_progress_vacuum using (pid) where application_name = 'vacuum' and backend_xmin is not null and pg_stat_activity.datname = current_database())")
	}, patience, look, "it has a snapshot")
	require.Empty(t, b.looksFor(t, 0, building))
	b.exec(t, "select pg_terminate_backend($1, $2)", int32(vacuums.PgConn().PID()), patience.Milliseconds())

	super := b.db
	super.DSN = b.db.SuperDSN
	super.Exec(t, `create function slow(a int, b int) returns int immutable language plpgsql as $$ begin perform pg_sleep(0.01); return btint4cmp(a, b); end $$`)
	super.Exec(t, `create operator class slow_ops for type int using btree as operator 1 <, operator 2 <=, operator 3 =, operator 4 >=, operator 5 >, function 1 slow(int, int)`)
	b.exec(t, "insert into other select (n * 7919) % 1000 from generate_series(1, 500) n")
	for index, waits := range map[string]bool{"(n slow_ops)": false, "((n + 1) slow_ops)": true, "(n slow_ops) where n > 0": true} {
		builds := b.db.Connect(t)
		_, err := builds.Exec(t.Context(), "set application_name = 'builds'")
		require.NoError(t, err)
		beside(t, builds, "create index concurrently other_n on other "+index)
		require.Eventually(t, func() bool {
			return one[bool](t, b, `select exists (select from pg_stat_activity a join pg_stat_progress_create_index p using (pid)
				where application_name = 'builds' and index_relid <> 0 and backend_xmin is not null and a.datname = current_database() and wait_event = 'PgSleep')`)
		}, patience, look)
		found := b.looksFor(t, 0, building)
		require.Equal(t, waits, len(found) == 1 && found[0] == "builds", "%s: %v", index, found)
		b.exec(t, "select pg_terminate_backend($1)", int32(builds.PgConn().PID()))
		b.exec(t, "drop index other_n")
	}
}

// A connection that stands still would not tell that it is gone, and with it the migration lock.
func TestAConnectionThatIsLostWhileItWaitsIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t, building)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	b.holdSnapshot(t, "old")
	b.age(t, "old")
	var told waits
	result := make(chan error, 1)
	go func() {
		result <- New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, OnWait: told.add}).Up(t.Context(), 2, "")
	}()
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Lock == oldTransactions }), patience, look)
	b.exec(t, "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())")
	select {
	case err := <-result:
		require.ErrorContains(t, err, "wait for old transactions")
	case <-time.After(patience):
		require.Fail(t, "the lost connection was not noticed")
	}
	require.False(t, b.has(t, "a_n"))
}
