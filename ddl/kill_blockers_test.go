package ddl

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/internal/pg"
)

// idleAfter is what the tests take for idle.
const idleAfter = 300 * time.Millisecond

func (b bundle) killing(told *waits) *Engine {
	return New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, KillIdleAfter: idleAfter, OnWait: told.add})
}

func TestWhoIdlesInTheWayIsEnded(t *testing.T) {
	t.Parallel()
	for title, then := range map[string]string{"idle": "select 1", "aborted": "select 1 / 0"} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t, three)
			require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
			reader, _ := b.reading(t)
			_, err := reader.Exec(t.Context(), "savepoint s")
			require.NoError(t, err)
			_, err = reader.Exec(t.Context(), then) // an aborted transaction keeps what it locked before
			require.Equal(t, title == "aborted", err != nil)
			var told waits
			require.NoError(t, b.killing(&told).Up(t.Context(), 2, ""))
			b.requireState(t, at(2))
			require.Error(t, reader.Ping(t.Context()))
			require.True(t, told.any(func(w Waiting) bool {
				return len(w.Ended) == 1 && w.Ended[0].PID == int(reader.PgConn().PID()) && w.Ended[0].Application == "slow report" && strings.Contains(w.String(), "; ended pid ")
			})())
		})
	}
}

func TestWhoWorksInTheWayIsNeverEnded(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	reader, _ := b.reading(t)
	b.exec(t, "select pg_advisory_lock(7)") // what the reader's statement waits for
	answered := make(chan error, 1)
	go func() {
		_, err := reader.Exec(t.Context(), "select pg_advisory_xact_lock(7)")
		answered <- err
	}()
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select exists (select from pg_locks where pid = $1 and not granted)", int32(reader.PgConn().PID()))
	}, patience, look, "it is at work before anybody looks at it")
	var told waits
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- b.killing(&told).Up(ctx, 2, "") }()
	require.Eventually(t, told.any(func(w Waiting) bool {
		return w.Attempt > 4 && w.RetryIn > 0 && len(w.Blockers) == 1 && w.Blockers[0].State == "active"
	}), patience, look, "long after it would count as idle")
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
	b.exec(t, "select pg_advisory_unlock(7)")
	require.NoError(t, <-answered)
	require.False(t, told.any(func(w Waiting) bool { return len(w.Ended) > 0 })())
}

// A session that has gone on, or whose pid is another's by now, is not the one that was seen.
func TestWhatWasSeenIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	reader, _ := b.reading(t)
	e := b.killing(&waits{})
	seen := Blocker{PID: int(reader.PgConn().PID())}
	read := func() {
		t.Helper()
		require.NoError(t, b.conn.QueryRow(t.Context(), "select backend_start, state_change from pg_stat_activity where pid = $1", int32(seen.PID)).Scan(&seen.began, &seen.changed))
	}
	old := func() bool {
		return one[bool](t, b, "select state_change < clock_timestamp() - make_interval(secs => $2) from pg_stat_activity where pid = $1", int32(seen.PID), idleAfter.Seconds())
	}
	read()
	require.Eventually(t, old, patience, look)
	other := seen
	other.began = other.began.Add(-time.Second)
	_, err := e.end(t.Context(), other)
	require.ErrorIs(t, err, pgx.ErrNoRows, "the pid is another's")
	_, err = reader.Exec(t.Context(), "select 1")
	require.NoError(t, err)
	require.Eventually(t, old, patience, look)
	_, err = e.end(t.Context(), seen)
	require.ErrorIs(t, err, pgx.ErrNoRows, "it has worked since")
	_, err = reader.Exec(t.Context(), "select 1")
	require.NoError(t, err)
	read()
	_, err = New(b.pool, b.files, Options{Plan: "p", KillIdleAfter: time.Hour}).end(t.Context(), seen)
	require.ErrorIs(t, err, pgx.ErrNoRows, "not for so long")
	require.Eventually(t, old, patience, look)
	_, err = e.end(t.Context(), seen)
	require.NoError(t, err)
	require.Error(t, reader.Ping(t.Context()))
}

// cluster is one whose roles and settings are the test's alone.
func cluster(t *testing.T, settings map[string]string) bundle {
	t.Helper()
	all := map[string]string{"fsync": "off", "autovacuum": "off", "max_prepared_transactions": "5"}
	maps.Copy(all, settings)
	c, err := postgres.Start(t.Context(), postgres.Options{Settings: all})
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	for _, role := range []string{pgtest.Role, "stranger"} {
		require.NoError(t, c.CreateRole(t.Context(), role))
	}
	require.NoError(t, c.CreateDatabase(t.Context(), "own", pgtest.Role))
	db := pgtest.Database{DSN: c.DSN(pgtest.Role, "own"), SuperDSN: c.DSN(postgres.Superuser, "own"), Name: "own"}
	pool, err := pg.Open(t.Context(), db.DSN, pg.Settings{ApplicationName: "ddl test"})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	b := bundle{db: db, pool: pool, conn: db.Connect(t), files: read(t, three)}
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	return b
}

func TestARoleThatMayNotEndSessionsSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	b := cluster(t, nil)
	super, stranger := b.db, b.db
	super.DSN = b.db.SuperDSN
	stranger.DSN = strings.Replace(b.db.DSN, pgtest.Role+":", "stranger:", 1)
	super.Exec(t, "grant select on a to stranger")
	theirs := stranger.Connect(t)
	require.NoError(t, theirs.QueryRow(t.Context(), "select current_user::text").Scan(new(string)))
	_, err := theirs.Exec(t.Context(), "begin; select from a")
	require.NoError(t, err)

	var told waits
	result := make(chan error, 1)
	engine, announced := b.killing(&told), make(chan Ended, 1000)
	engine.options.OnEnd = func(_ context.Context, e Ended) error { announced <- e; return nil }
	go func() { result <- engine.Up(t.Context(), 2, "") }()
	hint := func(part string) func() bool {
		return told.any(func(w Waiting) bool {
			return strings.Contains(w.String(), part) && strings.Contains(w.String(), `GRANT pg_signal_backend, pg_read_all_stats TO "migrator"`)
		})
	}
	require.Eventually(t, hint("our role may not see what pid"), patience, look)
	super.Exec(t, "grant pg_read_all_stats to migrator")
	require.Eventually(t, hint("our role may not end pid"), patience, look)
	require.Empty(t, result, "it goes on waiting")
	super.Exec(t, "grant pg_signal_backend to migrator")
	require.NoError(t, <-result)
	require.Error(t, theirs.Ping(t.Context()))
	require.Len(t, announced, 1, "however often it was tried")
}

func TestAPreparedTransactionIsNamed(t *testing.T) {
	t.Parallel()
	b := cluster(t, nil)
	b.exec(t, "begin; select from a; insert into a values (99); prepare transaction 'S3CRET'")
	var told waits
	result := make(chan error, 1)
	go func() { result <- b.killing(&told).Up(t.Context(), 2, "") }()
	require.Eventually(t, told.any(func(w Waiting) bool {
		return w.String() == "AccessExclusiveLock on a, blocked by a prepared transaction (see pg_prepared_xacts)" && w.RetryIn > 0
	}), patience, look)
	b.exec(t, "rollback prepared 'S3CRET'")
	require.NoError(t, <-result)

	// A drop of an index waits for it too, and so doesn't begin before.
	b.exec(t, "create index a_old on a (id)")
	b.exec(t, "begin; insert into a values (98); prepare transaction 'S3CRET'")
	require.Eventually(t, func() bool {
		return one[bool](t, b, "select bool_and(prepared < now() - make_interval(secs => $1)) from pg_prepared_xacts", oldTransaction.Seconds())
	}, patience, look)
	b.files = read(t, map[string]string{"2_b.up.sql": "select 1", "3_c.up.sql": noTransactionHeader + "\ndrop index concurrently a_old"})
	go func() { result <- b.killing(&told).Up(t.Context(), 3, "") }()
	require.Eventually(t, told.any(func(w Waiting) bool { return w.Lock == oldTransactions && w.Blockers[0].PID == 0 }), patience, look)
	b.exec(t, "rollback prepared 'S3CRET'")
	require.NoError(t, <-result)
}

// What can't be recorded isn't done.
func TestNobodyIsEndedWithoutARecord(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	require.NoError(t, b.engine("p").Up(t.Context(), 1, ""))
	reader, _ := b.reading(t)
	var (
		told   waits
		broken atomic.Bool
		said   atomic.Int64
	)
	broken.Store(true)
	e := New(b.pool, b.files, Options{Plan: "p", LockTimeout: brief, KillIdleAfter: idleAfter, OnWait: told.add, OnEnd: func(_ context.Context, ended Ended) error {
		if broken.Load() {
			return errors.New("no books")
		}
		said.Store(int64(ended.PID))
		return nil
	}})
	result := make(chan error, 1)
	go func() { result <- e.Up(t.Context(), 2, "") }()
	require.Eventually(t, told.any(func(w Waiting) bool { return strings.Contains(w.Hint, "can't be recorded") && w.Attempt > 2 }), patience, look)
	require.NoError(t, reader.Ping(t.Context()))
	broken.Store(false)
	require.NoError(t, <-result)
	require.Error(t, reader.Ping(t.Context()))
	require.Equal(t, int64(reader.PgConn().PID()), said.Load())
}

func TestOurOwnSessionsAreSpared(t *testing.T) {
	t.Parallel()
	b := setup(t, three)
	e := b.killing(&waits{})
	s, err := dial(t.Context(), b.pool, brief)
	require.NoError(t, err)
	defer s.close(t.Context())
	release := e.hold(s)
	_, err = s.conn.Exec(t.Context(), "begin")
	require.NoError(t, err)
	seen := Blocker{PID: int(s.pid()), State: idleStates[0], unchanged: time.Hour}
	require.NoError(t, b.conn.QueryRow(t.Context(), "select backend_start, state_change from pg_stat_activity where pid = $1", int32(s.pid())).Scan(&seen.began, &seen.changed))
	require.Eventually(t, func() bool { return time.Since(seen.changed) > 2*idleAfter }, patience, look)
	o := &observer{engine: e}
	require.Empty(t, o.endIdle(t.Context(), []Blocker{seen}))
	require.NoError(t, s.conn.Ping(t.Context()))
	require.NoError(t, b.conn.QueryRow(t.Context(), "select state_change from pg_stat_activity where pid = $1", int32(s.pid())).Scan(&seen.changed))
	require.Eventually(t, func() bool { return time.Since(seen.changed) > 2*idleAfter }, patience, look)
	release()
	require.Empty(t, o.endIdle(t.Context(), []Blocker{seen}))
	require.Error(t, s.conn.Ping(t.Context()), "a stranger's would have been ended")
}
