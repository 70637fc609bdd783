package backfill_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

// on is a bundle on a database whose DSN the test has chosen.
func on(t *testing.T, db pgtest.Database, sql ...string) bundle {
	t.Helper()
	b := bundle{Database: db, pool: open(t, db.DSN)}
	b.Engine = backfill.New(b.pool)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	b.pool.Reset()
	for _, s := range sql {
		b.exec(t, s)
	}
	return b
}

// queueTable holds what queueThrottle reads, so that a test drives it.
const queueTable = "create table queue (length numeric); insert into queue values (0);"

func queueThrottle() backfill.Throttle {
	return backfill.Throttle{Name: "queue", Signal: backfill.Query, Query: "select length from queue -- its length\n;", Max: 10}
}

// watched runs lane 0 and returns where its reports can be seen, what stops it, and its end.
func (b bundle) watched(t *testing.T, spec backfill.Spec) (*atomic.Pointer[backfill.Progress], chan<- struct{}, <-chan error) {
	t.Helper()
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	var last atomic.Pointer[backfill.Progress]
	stop := make(chan struct{})
	return &last, stop, b.started(t, t.Context(), spec, backfill.LaneOptions{Stop: stop, Report: func(p backfill.Progress) { last.Store(&p) }})
}

// holds waits until the lane holds for a reason of which part is a part, and proves that it then stands still.
func holds(t *testing.T, last *atomic.Pointer[backfill.Progress], part string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(last.Load().Holding, part) }, soon, tick, "no hold with %q", part)
	rows, seen := last.Load().Rows, last.Load()
	require.Eventually(t, func() bool { return last.Load() != seen }, soon, tick)
	require.Equal(t, rows, last.Load().Rows)
	require.Contains(t, last.Load().Holding, part)
}

func (b bundle) reading(t *testing.T, name string) backfill.Reading {
	t.Helper()
	all, err := b.Readings(t.Context(), "plan", "fill")
	require.NoError(t, err)
	for _, r := range all {
		if r.Name == name {
			return r
		}
	}
	require.FailNow(t, "no such reading", "%s in %v", name, all)
	return backfill.Reading{}
}

func TestAQueryHoldsTheLanesUntilItIsCalm(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	spec.Throttles = []backfill.Throttle{queueThrottle()}
	b := setup(t, queueTable, sql)
	last, _, ended := b.watched(t, spec)
	require.False(t, b.reading(t, "queue").Holding)

	b.exec(t, "update queue set length = 12.5")
	holds(t, last, "queue 12.5, above 10")
	r := b.reading(t, "queue")
	require.True(t, r.Holding)
	require.InDelta(t, 12.5, *r.Reading, 0)
	require.InDelta(t, 10, r.Max, 0)

	b.exec(t, "update queue set length = 9")
	holds(t, last, "queue 9, not calm for long enough yet (maximum 10)")
	b.exec(t, "update queue set length = 1")
	require.Eventually(t, func() bool { return last.Load().Holding == "" }, soon, tick)
	b.hurry(t)
	require.NoError(t, receive(t, ended))
	require.EqualValues(t, endless, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestAThrottleThatCannotBeReadHolds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ query, change, says string }{
		"no row":        {"select length from queue", "delete from queue", "it returned no number"},
		"null":          {"select length from queue", "update queue set length = null", "it returned no number"},
		"not a number":  {"select length from queue", "update queue set length = 'NaN'", "it returned no number"},
		"two rows":      {"select length from queue", "insert into queue values (1)", "SQLSTATE 21000"},
		"it takes long": {"select pg_sleep(length::int) is null then 0 else 0 end from queue", "", ""},
		"it writes":     {"select case when length > 0 then nextval('counter') else 0 end from queue", "update queue set length = 1", "SQLSTATE 25006"},
		"a value":       {"select word::int from words", "update words set word = 'secret'", "SQLSTATE 22P02"},
		"a name":        {"select word::regtype::oid::bigint from words", "update words set word = 'secret'", "SQLSTATE 42704"},
		"no such table": {"select length from queue", "drop table queue", `relation "queue" does not exist`},
	} {
		if name == "it takes long" {
			c.query = "select case when pg_sleep(length::int) is null then 0 else 0 end from queue"
			c.change, c.says = "update queue set length = 30", "statement timeout"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sql, spec := slow(endless)
			spec.Throttles = []backfill.Throttle{{Name: "queue", Signal: backfill.Query, Query: c.query, Max: 10}}
			b := setup(t, queueTable+"create sequence counter; create table words (word text); insert into words values ('1');", sql)
			last, stop, ended := b.watched(t, spec)
			require.Empty(t, last.Load().Holding)
			b.exec(t, c.change)
			holds(t, last, "queue cannot be read: ")
			require.Contains(t, last.Load().Holding, c.says)
			require.NotContains(t, last.Load().Holding, "secret")
			r := b.reading(t, "queue")
			require.True(t, r.Holding)
			require.Nil(t, r.Reading)
			require.Contains(t, r.Problem, c.says)
			close(stop)
			require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
		})
	}
}

func TestAMissingGrantHoldsAndIsNamed(t *testing.T) {
	t.Parallel()
	cluster, db := pgtest.Cluster(t), pgtest.New(t)
	role := "half blind " + db.Name
	require.NoError(t, cluster.CreateRole(t.Context(), role))
	super, err := pgx.Connect(t.Context(), db.SuperDSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = super.Close(context.Background()) })
	_, err = super.Exec(t.Context(), `grant all on database `+db.Name+` to "`+role+`"; grant all on schema public to "`+role+`"`)
	require.NoError(t, err)
	db.DSN = cluster.DSN(role, db.Name)
	sql, spec := slow(endless)
	b := on(t, db, sql)
	spec.Throttles = []backfill.Throttle{{Signal: backfill.ActiveSessions, Max: 1000}, {Signal: backfill.ArchiveBacklog, Max: 1000},
		{Signal: backfill.ReplicaLag, Max: 1000}, {Signal: backfill.LockWaiters, Max: 1000}}
	last, stop, ended := b.watched(t, spec)
	grant := `cannot be read: the role may not see it: GRANT pg_monitor TO "` + role + `"`
	holds(t, last, "WAL archive backlog "+grant)
	require.Contains(t, last.Load().Holding, "active sessions "+grant)
	require.Contains(t, last.Load().Holding, "; ", "each that holds is named")
	require.Empty(t, b.reading(t, "lock waiters").Problem, "which everybody may see")
	require.Empty(t, b.reading(t, "replica lag").Problem, "that there is no standby everybody may see")

	_, err = super.Exec(t.Context(), `GRANT pg_monitor TO "`+role+`"`) // what it asked for is enough
	require.NoError(t, err)
	require.Eventually(t, func() bool { return last.Load().Holding == "" }, soon, tick)
	close(stop)
	require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
	require.Zero(t, *b.reading(t, "WAL archive backlog").Reading)
	require.Zero(t, *b.reading(t, "replica lag").Reading)
	require.NotNil(t, b.reading(t, "active sessions").Reading)
}

func TestLockWaitersHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ holder, waiter string }{
		"for the table": {"lock table numbers in share update exclusive mode", "lock table numbers in share update exclusive mode"},
		"for a row":     {"select from numbers where id = 90000 for update", "update numbers set label = 'theirs' where id = 90000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sql, spec := slow(endless)
			spec.Throttles = []backfill.Throttle{{Signal: backfill.LockWaiters}}
			b := setup(t, sql)
			last, stop, ended := b.watched(t, spec)
			require.Zero(t, *b.reading(t, "lock waiters").Reading)
			holder, err := b.Connect(t).Begin(t.Context())
			require.NoError(t, err)
			_, err = holder.Exec(t.Context(), c.holder)
			require.NoError(t, err)
			require.Empty(t, last.Load().Holding, "holding is not waiting")
			waited := make(chan error, 1)
			waiter, err := b.Connect(t).Begin(t.Context())
			require.NoError(t, err)
			go func() {
				_, err := waiter.Exec(t.Context(), c.waiter)
				waited <- errors.Join(err, waiter.Rollback(t.Context()))
			}()
			holds(t, last, "lock waiters 1, above 0")
			require.NoError(t, holder.Rollback(t.Context()))
			require.NoError(t, receive(t, waited))
			require.Eventually(t, func() bool { return last.Load().Holding == "" }, soon, tick)
			close(stop)
			require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
		})
	}
}

// Other tests' sessions count as well: it is the server that is busy.
func TestActiveSessionsHold(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.DSN = db.SuperDSN
	sql, spec := slow(endless)
	spec.Throttles = []backfill.Throttle{{Signal: backfill.ActiveSessions, Max: -1}}
	b := on(t, db, sql)
	busy, end := context.WithCancel(t.Context())
	slept := make(chan struct{})
	conn := b.Connect(t)
	go func() {
		defer close(slept)
		_, _ = conn.Exec(busy, "select pg_sleep(600)") // ends with its context
	}()
	last, stop, ended := b.watched(t, spec)
	holds(t, last, "active sessions ")
	require.Eventually(t, func() bool { return *b.reading(t, "active sessions").Reading >= 1 }, soon, tick)
	require.Zero(t, last.Load().Rows, "nothing runs before the first readings")
	close(stop)
	require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
	end()
	<-slept
}

func TestALaneOutsideItsWindowHolds(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100))
	now := scalar[time.Time](t, b, "select now()").UTC()
	elsewhen := backfill.Window{Days: []time.Weekday{(now.Weekday() + 3) % 7}, From: 12 * time.Hour, To: 13 * time.Hour}
	spec := counting("numbers")
	spec.Windows = []backfill.Window{elsewhen}
	last, stop, ended := b.watched(t, spec)
	holds(t, last, backfill.HoldingWindow+" until "+elsewhen.Days[0].String()[:3]+" 12:00 UTC")
	close(stop)
	require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
	require.Zero(t, scalar[int](t, b, "select sum(n)::int from numbers"))

	spec.Windows = append(spec.Windows, backfill.Window{}) // always
	b.run(t, spec)
	require.EqualValues(t, 100, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestProtectFailsClosedAndSlowsDown(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	spec.ChunkTime = 0
	b := setup(t, sql)
	var latency atomic.Int64
	var failing atomic.Bool
	failing.Store(true)
	spec.Protect = &backfill.Protect{Name: "p99", Max: 40 * time.Millisecond, Read: func(context.Context) (time.Duration, error) {
		if failing.Load() {
			return 0, errors.New("Prometheus does not answer: connection refused")
		}
		return time.Duration(latency.Load()), nil
	}}
	last, stop, ended := b.watched(t, spec)
	holds(t, last, "p99 cannot be read: Prometheus does not answer: connection refused")
	require.Zero(t, last.Load().Rows)

	latency.Store(int64(time.Second))
	failing.Store(false)
	speed := func() float64 { return scalar[float64](t, b, "select speed::float8 from contraflow.backfill_control") }
	require.Eventually(t, func() bool { return last.Load().Rows > 0 }, soon, tick)
	require.Eventually(t, func() bool { return speed() < 0.03 }, soon, tick)
	require.Eventually(t, func() bool { return last.Load().Holding == "protect: p99 stays below 40ms" }, soon, tick)
	latency.Store(int64(time.Millisecond))
	require.Eventually(t, func() bool { return speed() > 0.03 }, soon, tick)
	r := b.reading(t, "p99")
	require.InDelta(t, 0.001, *r.Reading, 1e-9)
	require.InDelta(t, 0.040, r.Max, 1e-9)
	close(stop)
	require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
}
