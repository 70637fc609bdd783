package backfill_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// together walks all prepared lanes at once, each helping the others when it is done.
func (b bundle) together(ctx context.Context, spec backfill.Spec, lanes int, o backfill.LaneOptions) []error {
	failed := make([]error, lanes)
	o.Help = true
	var walking sync.WaitGroup
	for lane := range lanes {
		walking.Go(func() { _, failed[lane] = b.RunLane(ctx, spec, lane, o) })
	}
	walking.Wait()
	return failed
}

// lopsided prepares two lanes on a table of which the second holds nearly all rows.
func (b bundle) lopsided(t *testing.T, spec backfill.Spec) {
	t.Helper()
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	b.exec(t, "update contraflow.backfill_lane set upper_key = '{90}', total = 30 where lane = 0")
	b.exec(t, "update contraflow.backfill_lane set lower_key = '{90}', total = (select count(*) - 30 from numbers) where lane = 1")
}

func TestALaneThatIsDoneTakesHalfOfALongOne(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.Lanes, spec.ChunkTime = 2, time.Millisecond
	b.lopsided(t, spec)
	var mu sync.Mutex
	seen := map[int]backfill.Progress{}
	first, helped := make(chan struct{}), make(chan struct{})
	once, goOn := sync.OnceFunc(func() { close(first) }), sync.OnceFunc(func() { close(helped) })
	o := backfill.LaneOptions{Help: true, Report: func(p backfill.Progress) {
		mu.Lock()
		seen[p.Lane] = p
		mu.Unlock()
		switch {
		case p.Lane == 1: // stands behind its first chunk until it is helped, so that it is not through before
			once()
			<-helped
		case p.Rows > 30: // more than its own
			goOn()
		}
	}}
	long := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 1, o)
		long <- err
	}()
	receive(t, first) // else lane 0 would find that nobody walks lane 1
	_, err := b.RunLane(t.Context(), spec, 0, o)
	goOn()
	require.NoError(t, err)
	require.NoError(t, receive(t, long))
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
	require.Greater(t, scalar[int64](t, b, "select count(*) from contraflow.backfill_lane"), int64(2), "lane 1 was never split")
	require.EqualValues(t, rows, scalar[int64](t, b, "select sum(rows)::bigint from contraflow.backfill_lane"))
	require.Len(t, seen, 2, "helpers report under their own lane")
	require.Greater(t, seen[0].Rows, int64(30), "lane 0 has only 30 rows of its own")
	require.Positive(t, seen[1].Rows)
	require.EqualValues(t, rows, seen[0].Rows+seen[1].Rows)
	proof, err := b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, err)
	require.EqualValues(t, rows, proof.Rows)
}

func TestALaneThatNobodyWalksIsTakenOver(t *testing.T) {
	t.Parallel()
	const rows = 2_000
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.Lanes, spec.ChunkTime = 4, time.Millisecond
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	require.Len(t, run.Lanes, 4)
	_, err = b.RunLane(t.Context(), spec, 2, backfill.LaneOptions{Help: true})
	require.NoError(t, err)
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
	require.EqualValues(t, 4, scalar[int64](t, b, "select count(*) from contraflow.backfill_lane where done_at is not null"))
}

func TestAHelperGivesALaneBackToItsOwnAttempt(t *testing.T) {
	t.Parallel()
	const rows = 5_000
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.Lanes, spec.ChunkTime = 2, time.Millisecond
	b.lopsided(t, spec)
	// Lane 0 is soon done and helps with lane 1, which nobody walks yet; then lane 1's own attempt begins.
	ended := b.started(t, t.Context(), spec, backfill.LaneOptions{Help: true})
	require.Eventually(t, func() bool {
		return scalar[int64](t, b, "select rows from contraflow.backfill_lane where lane = 1") > 0
	}, soon, tick)
	_, err := b.RunLane(t.Context(), spec, 1, backfill.LaneOptions{Help: true})
	require.NoError(t, err)
	require.NoError(t, receive(t, ended), "being fenced is no failure of a helper")
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestWithoutHelpOnlyTheLaneItselfIsWalked(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(2_000))
	spec := counting("numbers")
	spec.Lanes = 2
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, scalar[int64](t, b, "select count(*) from contraflow.backfill_lane where done_at is null"))
	require.Zero(t, scalar[int64](t, b, "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())"),
		"a pooled connection keeps the lane's lock")
}

func TestAnInterleavedVacuumKeepsTheTableSmall(t *testing.T) {
	t.Parallel()
	const rows = 100_000
	sizes := map[bool]int64{}
	for _, vacuum := range []bool{false, true} {
		b := setup(t, fmt.Sprintf(`create table numbers (id bigint primary key, n integer not null default 0, label text) with (autovacuum_enabled = off);
			insert into numbers (id, label) select i, repeat('x', 100) from generate_series(1, %d) i`, rows))
		b.exec(t, "vacuum (freeze, analyze) numbers")
		spec := counting("numbers")
		// One lane: another whose transaction stood still would keep what is dead from being removed.
		spec.Lanes, spec.Vacuum, spec.ChunkRows, spec.ChunkTime = 1, vacuum, 500, 5*time.Millisecond
		_, err := b.Prepare(t.Context(), spec)
		require.NoError(t, err)
		_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		require.NoError(t, err)
		require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
		sizes[vacuum] = scalar[int64](t, b, "select pg_relation_size('numbers')")
	}
	require.Less(t, float64(sizes[true]), 0.75*float64(sizes[false]))
}

func TestAVacuumNeverWaitsForAnother(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(50_000))
	// What autovacuum holds while it works on the table.
	other := b.Connect(t)
	tx, err := other.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "lock table numbers in share update exclusive mode")
	require.NoError(t, err)
	spec := counting("numbers")
	spec.Vacuum, spec.ChunkRows, spec.ChunkTime = true, 200, 2*time.Millisecond
	_, err = b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	turns := 0
	_, err = b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{Report: func(p backfill.Progress) {
		if p.Holding == backfill.HoldingVacuum {
			turns++
		}
	}})
	require.NoError(t, err)
	require.Positive(t, turns, "no lane has tried to")
	require.Zero(t, scalar[int64](t, b, "select vacuumed from contraflow.backfill_control"), "the turn is still to be taken")
	require.Zero(t, scalar[int64](t, b, "select pg_stat_get_vacuum_count('numbers'::regclass)"))
	require.Equal(t, "20s", scalar[string](t, b, "show statement_timeout"), "the connection's own settings are back")
}

func TestAVacuumThatTheRoleMayNotDoIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	admin := openSuper(t, b)
	_, err := admin.Exec(t.Context(), numbers(10)+"; grant select, update on numbers to migrator")
	require.NoError(t, err)
	spec := counting("numbers")
	spec.Vacuum = true
	_, err = b.Inspect(t.Context(), spec)
	require.ErrorIs(t, err, backfill.ErrSpec)
	require.ErrorContains(t, err, "owner")
}

func TestAChunkBeyondTheNewEndOfItsLaneIsRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t, numbers(100))
	spec := counting("numbers")
	spec.ChunkRows = 50
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	application := b.Connect(t)
	tx, err := application.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "select from numbers where id = 30 for update")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		ended <- err
	}()
	require.Eventually(t, func() bool { return b.waiting(t) > 0 }, soon, tick)
	// The chunk under way reaches to 150; now its lane ends at 60.
	b.exec(t, `with shorter as (update contraflow.backfill_lane set upper_key = '{60}', cut = cut + 1, total = 20 returning *)
		insert into contraflow.backfill_lane (plan, step, lane, target, hash, lower_key, total) select plan, step, 1, target, hash, '{60}', 80 from shorter`)
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, receive(t, ended))
	require.EqualValues(t, 20, scalar[int64](t, b, "select count(*) from numbers where n = 1 and id <= 60"))
	require.Zero(t, scalar[int64](t, b, "select count(*) from numbers where n <> 0 and id > 60"))
	proof, err := b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 100, proof.Rows)
}
