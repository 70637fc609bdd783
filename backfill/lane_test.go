package backfill_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/pg"
)

// endless rows keep a slow lane busy for half a minute, unless a test stops it or lets it hurry.
const endless = 30_000

// napping is what a slow lane sleeps for each row.
const napping = "create table nap (seconds float8); insert into nap values (0.0001);"

// slow keeps a lane busy long enough to do something to it, a millisecond or more for each row: chunks of 100 rows or so at first,
// 10 ms each later.
func slow(rows int) (sql string, spec backfill.Spec) {
	spec = counting("numbers")
	spec.ChunkRows, spec.ChunkTime = 100, 10*time.Millisecond
	spec.Set = append(spec.Set, backfill.Assignment{Column: "label", Expr: "'x' || (select pg_sleep(seconds + 0 * id) from nap)"})
	return napping + numbers(rows), spec
}

// hurry makes slow lanes quick.
func (b bundle) hurry(t *testing.T) {
	t.Helper()
	b.exec(t, "update nap set seconds = 0")
}

func TestPauseAndResumeFromPsql(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	b := setup(t, sql)
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	var last atomic.Pointer[backfill.Progress]
	ended := b.started(t, t.Context(), spec, backfill.LaneOptions{Report: func(p backfill.Progress) { last.Store(&p) }})

	b.exec(t, "update contraflow.backfill_control set paused = true where plan = 'plan' and step = 'fill'")
	require.Eventually(t, func() bool { return last.Load().Holding == backfill.HoldingPaused }, soon, tick)
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, backfill.HoldingPaused, o.Holding)
	require.Less(t, o.Rows, int64(endless))
	rows, again := last.Load().Rows, last.Load()
	require.Eventually(t, func() bool { return last.Load() != again }, soon, tick, "a paused lane still reports")
	require.Equal(t, rows, last.Load().Rows)

	b.hurry(t)
	b.exec(t, "update contraflow.backfill_control set paused = false")
	require.NoError(t, receive(t, ended))
	require.Empty(t, last.Load().Holding)
	require.EqualValues(t, endless, last.Load().Rows)
	require.EqualValues(t, endless, last.Load().Total)
	require.EqualValues(t, endless, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestPausedBeforeItBegins(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100))
	require.NoError(t, b.SetControl(t.Context(), "plan", "fill", backfill.Control{Paused: true}))
	_, err := b.Prepare(t.Context(), counting("numbers"))
	require.NoError(t, err)
	stop := make(chan struct{})
	ended := b.started(t, t.Context(), counting("numbers"), backfill.LaneOptions{Stop: stop})
	require.Zero(t, scalar[int](t, b, "select sum(n)::int from numbers"))
	close(stop)
	require.ErrorIs(t, receive(t, ended), backfill.ErrStopped)
	require.ErrorIs(t, b.SetControl(t.Context(), "plan", "fill", backfill.Control{RowsPerSecond: -2}), backfill.ErrSpec)
}

func TestRateCap(t *testing.T) {
	t.Parallel()
	const rows = 1200
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.ChunkRows, spec.RowsPerSecond, spec.Lanes = 1000, 400, 2
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.Len(t, run.Lanes, 2)
	began := time.Now()
	var held atomic.Bool
	var wg sync.WaitGroup
	for _, lane := range run.Lanes {
		wg.Go(func() {
			_, err := b.RunLane(t.Context(), spec, lane.Lane, backfill.LaneOptions{Report: func(p backfill.Progress) {
				if p.Holding == backfill.HoldingCap {
					held.Store(true)
				}
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// Each lane walks 600 rows, 200 a second: the first 200 at once, the others one and two seconds later.
	require.Greater(t, time.Since(began), 1900*time.Millisecond)
	require.True(t, held.Load())
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))

	// A person may lift the plan's cap.
	require.NoError(t, b.Reset(t.Context(), "plan", "fill"))
	require.NoError(t, b.SetControl(t.Context(), "plan", "fill", backfill.Control{RowsPerSecond: backfill.NoCap}))
	spec.RowsPerSecond = 1
	b.run(t, spec)
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 2"))
}

func TestStopAndCancelLoseNothing(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	b := setup(t, sql)
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)

	stop := make(chan struct{})
	ended := b.started(t, t.Context(), spec, backfill.LaneOptions{Stop: stop})
	close(stop)
	err = receive(t, ended)
	require.ErrorIs(t, err, backfill.ErrStopped)
	require.False(t, backfill.Permanent(err))

	cause := errors.New("the worker shuts down")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended = b.started(t, ctx, spec, backfill.LaneOptions{})
	cancel(cause)
	require.ErrorIs(t, receive(t, ended), cause)

	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.True(t, run.Resumed)
	require.False(t, run.StaleHash)
	require.Less(t, run.Lanes[0].Rows, int64(endless))
	b.hurry(t)
	b.run(t, spec)
	require.EqualValues(t, endless, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestOfTwoAttemptsOneWins(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	b := setup(t, sql)
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	first := b.started(t, t.Context(), spec, backfill.LaneOptions{})
	second := b.started(t, t.Context(), spec, backfill.LaneOptions{})
	err = receive(t, first)
	require.ErrorIs(t, err, backfill.ErrFenced)
	require.True(t, backfill.Permanent(err))
	b.hurry(t)
	require.NoError(t, receive(t, second))
	require.EqualValues(t, endless, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestManyAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	sql, spec := slow(3000)
	b := setup(t, sql)
	const attempts = 6
	var won atomic.Int32
	var wg sync.WaitGroup
	for range attempts {
		wg.Go(func() {
			run, err := b.Prepare(t.Context(), spec)
			if err != nil || len(run.Lanes) != 1 {
				t.Error(err)
				return
			}
			switch _, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{}); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, backfill.ErrFenced):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Positive(t, won.Load())
	require.EqualValues(t, 3000, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestResetFencesARunningLane(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	b := setup(t, sql)
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	ended := b.started(t, t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, b.Reset(t.Context(), "plan", "fill"))
	changed := scalar[int64](t, b, "select sum(n) from numbers")
	_, err = b.Prepare(t.Context(), spec) // new checkpoints are not the zombie's
	require.NoError(t, err)
	require.ErrorIs(t, receive(t, ended), backfill.ErrFenced)
	require.Equal(t, changed, scalar[int64](t, b, "select sum(n) from numbers"))

	require.NoError(t, b.Reset(t.Context(), "plan", "fill"))
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrNotPrepared)
	_, err = b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.ErrorIs(t, err, backfill.ErrNotPrepared)
}

func TestAChangedSpecStartsAfresh(t *testing.T) {
	t.Parallel()
	sql, spec := slow(endless)
	b := setup(t, sql)
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	old := b.started(t, t.Context(), spec, backfill.LaneOptions{})

	changed := counting("numbers")
	changed.Set[0].Expr = "1000"
	require.NotEqual(t, spec.Hash(), changed.Hash())
	run, err := b.Prepare(t.Context(), changed)
	require.NoError(t, err)
	require.True(t, run.StaleHash)
	require.False(t, run.Resumed)
	require.ErrorIs(t, receive(t, old), backfill.ErrFenced)
	b.run(t, changed)
	require.EqualValues(t, endless, scalar[int64](t, b, "select count(*) from numbers where n = 1000"))

	faster := changed
	faster.ChunkRows, faster.ChunkTime, faster.Lanes, faster.RowsPerSecond = 7, time.Second, 4, 5
	require.Equal(t, changed.Hash(), faster.Hash(), "how fast is not what")
}

// The checkpoint says done, and the column is empty again.
func TestAColumnMadeAnewIsFilledAnew(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(300))
	spec := counting("numbers")
	b.run(t, spec)
	b.exec(t, "alter table numbers drop column n; alter table numbers add column n int not null default 0")
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.True(t, run.StaleHash)
	b.run(t, spec)
	require.EqualValues(t, 300, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestContentionHalvesTheChunkAndGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(2000))
	b.impatient(t)
	spec := counting("numbers")
	spec.ChunkRows = 640
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	tx, err := b.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select from numbers where id = 600 for update") // the 200th row
	require.NoError(t, err)
	var heard reports
	ended := b.started(t, t.Context(), spec, backfill.LaneOptions{Report: heard.add})
	require.Eventually(t, func() bool { return heard.held("retry after lock timeout", 160) }, soon, tick, "640 and 320 rows do not get through, 160 do")
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, receive(t, ended))
	require.EqualValues(t, 2000, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestStatementTimeoutHalvesTheChunkAndCountingHasNone(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(40))
	spec := counting("numbers")
	spec.ChunkRows, spec.ChunkTime = 40, time.Second // 40 rows take 3.2 s, 20 rows 1.6 s
	spec.Set = append(spec.Set, backfill.Assignment{Column: "label", Expr: "'x' || (select pg_sleep(0.08 + 0 * id))"})
	spec.Where = "label is null"
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	b.Engine = backfill.New(openWith(t, b.DSN, pg.Settings{StatementTimeout: 2 * time.Second}))
	var held []string
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{Report: func(p backfill.Progress) { held = append(held, p.Holding) }})
	require.NoError(t, err)
	require.Contains(t, held, "retry after statement timeout")
	require.EqualValues(t, 40, scalar[int64](t, b, "select count(*) from numbers where n = 1"))

	spec.Where = "(select pg_sleep(0.07 + 0 * id)) is not null and n = 1"
	left, err := b.Remaining(t.Context(), spec)
	require.NoError(t, err)
	require.EqualValues(t, 40, left)
}

func TestATakeoverWhileAChunkIsUnderWayRollsThatBack(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(500))
	spec := counting("numbers")
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	tx, err := b.Connect(t).Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select from numbers where id = 600 for update")
	require.NoError(t, err)
	first := b.started(t, t.Context(), spec, backfill.LaneOptions{})
	require.Eventually(t, func() bool { return b.waiting(t) == 1 }, soon, tick)
	second := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		second <- err
	}()
	require.Eventually(t, func() bool { return b.waiting(t) == 2 }, soon, tick)
	require.NoError(t, tx.Rollback(t.Context()))
	require.ErrorIs(t, receive(t, first), backfill.ErrFenced)
	require.NoError(t, receive(t, second))
	require.EqualValues(t, 500, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}
