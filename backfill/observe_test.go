package backfill_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// reads is a latency to protect that is always the same.
func reads(latency time.Duration) *backfill.Protect {
	return &backfill.Protect{Name: "p99", Max: 20 * time.Millisecond,
		Read: func(context.Context) (time.Duration, error) { return latency, nil }}
}

func TestOneLaneReadsForAll(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	spec.Lanes = 4
	b := setup(t, sql)
	var calls, inside, overlaps atomic.Int64
	spec.Protect = reads(time.Millisecond)
	spec.Protect.Read = func(context.Context) (time.Duration, error) {
		if inside.Add(1) > 1 {
			overlaps.Add(1)
		}
		defer inside.Add(-1)
		calls.Add(1)
		return time.Millisecond, nil
	}
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.Len(t, run.Lanes, 4)
	began := time.Now()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, lane := range run.Lanes {
		wg.Go(func() { _, _ = b.RunLane(t.Context(), spec, lane.Lane, backfill.LaneOptions{Stop: stop}) })
	}
	require.Eventually(t, func() bool { return calls.Load() >= 3 }, soon, tick)
	require.LessOrEqual(t, float64(calls.Load()), 1+time.Since(began).Seconds(), "once a second")
	require.Zero(t, overlaps.Load())
	close(stop)
	wg.Wait()
}

// A lane that took the readings is gone, or somebody has the control row locked: nobody knows how things are.
func TestReadingsOutOfDateHold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ first, then string }{
		"the reader is gone": {"update contraflow.backfill_control set read_at = clock_timestamp() + interval '10 s'", ""},
		"locked":             {"", "select from contraflow.backfill_control for update"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, queueTable, numbers(100))
			spec := counting("numbers")
			spec.Throttles = []backfill.Throttle{queueThrottle()}
			_, err := b.Prepare(t.Context(), spec)
			require.NoError(t, err)
			b.exec(t, c.first)
			locks, err := b.Connect(t).Begin(t.Context())
			require.NoError(t, err)
			_, err = locks.Exec(t.Context(), c.then)
			require.NoError(t, err)
			last, _, ended := b.watched(t, spec)
			holds(t, last, "readings are out of date")
			require.Zero(t, last.Load().Rows)
			require.NoError(t, locks.Rollback(t.Context()))
			require.NoError(t, receive(t, ended))
			require.EqualValues(t, 100, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
		})
	}
}

func TestARemovedControlRowComesBack(t *testing.T) {
	t.Parallel()
	b := setup(t, queueTable, numbers(100))
	spec := counting("numbers")
	spec.Throttles = []backfill.Throttle{queueThrottle()}
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	b.exec(t, "delete from contraflow.backfill_control")
	b.run(t, spec)
	require.Equal(t, 1, scalar[int](t, b, "select count(*)::int from contraflow.backfill_control"))
	require.Zero(t, *b.reading(t, "queue").Reading)

	// A throttle that the plan has no more leaves no reading.
	b.exec(t, "update numbers set n = 0; update contraflow.backfill_lane set done_at = null, cursor = null")
	b.exec(t, "update contraflow.backfill_control set read_at = '-infinity'")
	spec.Throttles = nil
	b.run(t, spec)
	all, err := b.Readings(t.Context(), "plan", "fill")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, "autovacuum that prevents wraparound", all[0].Name)
}

func TestALaneThatNobodyWalksKeepsNoShare(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(2000))
	spec := counting("numbers")
	spec.Lanes, spec.Protect = 2, reads(time.Second)
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.Len(t, run.Lanes, 2)
	b.exec(t, "update contraflow.backfill_control set speed = 0.02")
	for _, lane := range run.Lanes {
		stop := make(chan struct{})
		var once sync.Once
		_, err = b.RunLane(t.Context(), spec, lane.Lane, backfill.LaneOptions{Stop: stop, Report: func(p backfill.Progress) {
			if p.Rows > 0 {
				once.Do(func() { close(stop) })
			}
		}})
		require.ErrorIs(t, err, backfill.ErrStopped, "each gets its turn although the other never takes its own")
	}
}

func TestAVacuumThatPreventsWraparoundGoesFirst(t *testing.T) {
	t.Parallel()
	const partitions = napping + `create table numbers (id bigint primary key, n integer not null default 0, label text) partition by range (id);
		create table "numbers one" partition of numbers for values from (0) to (45000); create table two partition of numbers default;
		insert into numbers (id) select 3 * i from generate_series(1, 30000) i; analyze numbers`
	plain, spec := slow(endless)
	for relation, sql := range map[string]string{"numbers": plain, "two": partitions} {
		t.Run(relation, func(t *testing.T) {
			t.Parallel()
			b := setup(t, sql)
			last, stop, ended := b.watched(t, spec)
			vacuum, err := b.Connect(t).Begin(t.Context())
			require.NoError(t, err)
			_, err = vacuum.Exec(t.Context(), "lock table "+relation+" in share update exclusive mode")
			require.NoError(t, err)
			const name = "autovacuum that prevents wraparound"
			seen := last.Load().Rows
			require.Eventually(t, func() bool { return last.Load().Rows > seen }, soon, tick)
			require.False(t, b.reading(t, name).Holding, "any other vacuum gives way")

			super, err := pgx.Connect(t.Context(), b.SuperDSN)
			require.NoError(t, err)
			_, err = super.Exec(t.Context(), "update pg_class set relfrozenxid = ((txid_current() + 4294967296 - 150000) % 4294967296)::text::xid, "+
				"reloptions = '{autovacuum_freeze_max_age=100000}' where relname = '"+relation+"'")
			require.NoError(t, err)
			require.NoError(t, super.Close(t.Context()))
			holds(t, last, name+" goes first")
			require.NoError(t, vacuum.Rollback(t.Context()))
			require.Eventually(t, func() bool { return last.Load().Holding == "" }, soon, tick)
			close(stop)
			require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
		})
	}
}
