package activities

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/contraflow/contraflow/signals"
)

// rows makes a table whose keys no heartbeat may repeat, and begins a plan that fills it.
func (b *bundle) rows(t *testing.T, n int, with string) (Begun, BackfillInput) {
	t.Helper()
	b.exec(t, "create table customers (id text primary key, address text not null, street text)")
	b.exec(t, "insert into customers select '"+rowMarker+"' || lpad(i::text, 6, '0'), i || ' Street', null from generate_series(1, $1::int) i", n)
	b.exec(t, "analyze customers")
	b.only(t, strings.ReplaceAll(fill, "{table", "{"+with+"table"))
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	return begun, BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[0].Backfill}
}

func (b *bundle) prepare(t *testing.T, in BackfillInput) BackfillPrepared {
	t.Helper()
	prepared, err := run[BackfillPrepared](t, b, b.acts.PrepareBackfill, in, call{})
	require.NoError(t, err)
	return prepared
}

func (b *bundle) lane(t *testing.T, in BackfillInput, c call) (LaneDone, error) {
	t.Helper()
	return run[LaneDone](t, b, b.acts.BackfillLane, in, c)
}

func (b *bundle) control(t *testing.T, in BackfillInput, paused bool, rowsPerSecond int) {
	t.Helper()
	_, err := run[any](t, b, b.acts.ControlBackfill, ControlInput{Origin: in.Origin, Control: Control{Paused: paused, RowsPerSecond: rowsPerSecond}}, call{})
	require.NoError(t, err)
}

func (b *bundle) filled(t *testing.T) int {
	t.Helper()
	return one[int](t, b, "select count(*)::int from customers where street is not null")
}

func TestABackfillFromItsLanesToItsProof(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 5000, "lanes: 3, ")
	prepared := b.prepare(t, in)
	require.Equal(t, []int{0, 1, 2}, prepared.Lanes)
	require.InDelta(t, 5000, prepared.Total, 500)
	require.False(t, prepared.Resumed)
	require.Equal(t, prepared, b.prepare(t, in), "an attempt whose answer was lost")

	in.Total = prepared.Total
	var rows int64
	for _, in.Lane = range prepared.Lanes[:2] {
		done, err := b.lane(t, in, call{})
		require.NoError(t, err)
		rows += done.Rows
	}
	resumed := b.prepare(t, in)
	require.True(t, resumed.Resumed)
	in.Lane = 2
	var heard []string
	done, err := b.lane(t, in, call{heard: &heard})
	require.NoError(t, err)
	require.Equal(t, int64(5000), rows+done.Rows)
	require.Contains(t, heard[0], `"step":"fill"`)
	require.Equal(t, 5000, b.filled(t))
	again, err := b.lane(t, in, call{})
	require.NoError(t, err)
	require.Equal(t, done, again)

	b.exec(t, "insert into customers values ('0 behind all cursors', '1 Street', null)")
	proven, err := run[BackfillProven](t, b, b.acts.ProveBackfill, in, call{})
	require.NoError(t, err)
	require.Equal(t, BackfillProven{Rows: 5001}, proven)
	require.Equal(t, 5001, b.filled(t))
}

func TestAnotherExpressionStartsAfresh(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 10, "")
	b.prepare(t, in)
	_, err := b.lane(t, in, call{})
	require.NoError(t, err)
	in.Backfill.Set = map[string]string{"street": "upper(address)"}
	prepared := b.prepare(t, in)
	require.True(t, prepared.Restarted)
	require.False(t, prepared.Resumed)
}

func TestAColumnIsMissingWhenItsTurnComes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 10, "")
	b.exec(t, "alter table customers drop column street")
	_, err := run[BackfillPrepared](t, b, b.acts.PrepareBackfill, in, call{})
	requirePermanent(t, err, "Backfill", "street")
	_, err = b.lane(t, in, call{})
	requirePermanent(t, err, "Backfill", "street")
}

func TestPauseHoldsALaneAndResumeLetsItGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 100, "")
	b.prepare(t, in)
	b.control(t, in, true, 0)
	hear, paused := waiting(`"holding":"paused"`)
	done := make(chan error, 1)
	go func() {
		_, err := b.lane(t, in, call{onAir: hear})
		done <- err
	}()
	requireSoon(t, paused)
	require.Zero(t, b.filled(t))
	b.control(t, in, false, 0)
	require.NoError(t, requireSoon(t, done))
	require.Equal(t, 100, b.filled(t))
}

// Four long statements once kept a pause from reaching the lanes.
func TestControlDoesNotWaitForLongStatements(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, in := b.rows(t, 10, "")
	b.prepare(t, in)
	for range workConns {
		conn, err := b.acts.Databases["shop"].pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
	}
	b.control(t, in, true, 7)
	require.Equal(t, "true 7", one[string](t, b, "select paused::text || ' ' || rows_per_second from contraflow.backfill_control"))
	_, err := run[any](t, b, b.acts.Audit, AuditInput{Origin: begun.origin("fill"), Events: []AuditEvent{{Key: "pause/1", Event: "pause"}}}, call{})
	require.NoError(t, err)
}

func TestControlDoesNotWaitForTheLanesConnections(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 10, "")
	b.prepare(t, in)
	for range backfillConns {
		conn, err := b.acts.Databases["shop"].backfill.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
	}
	b.control(t, in, true, 7)
	require.Equal(t, "true 7", one[string](t, b, "select paused::text || ' ' || rows_per_second from contraflow.backfill_control"))
	_, err := run[any](t, b, b.acts.ResetBackfill, in, call{})
	require.NoError(t, err)
}

// underWay starts a lane of many slow chunks and waits until some are through.
func (b *bundle) underWay(t *testing.T, in BackfillInput, c call) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := b.lane(t, in, c)
		done <- err
	}()
	require.Eventually(t, func() bool { return b.filled(t) > 0 }, patience, look)
	return done
}

func TestACancelledLaneEndsWithinAboutAChunk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 2000, "rowsPerSecond: 100, ")
	b.prepare(t, in)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := b.underWay(t, in, call{ctx: ctx})
	cancel(temporal.NewCanceledError())
	err := requireSoon(t, done)
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	filled := b.filled(t)
	require.Less(t, filled, 1000, "half of what the cap spreads over twenty seconds")
	require.Equal(t, filled, one[int](t, b, "select rows::int from contraflow.backfill_lane"), "the cursor knows of every row")
}

func TestALaneOfAWorkerThatStopsIsGoneOnWithAtOnce(t *testing.T) {
	t.Parallel()
	for title, end := range map[string]func(stop chan struct{}, cancel context.CancelCauseFunc){
		"as asked":                  func(stop chan struct{}, _ context.CancelCauseFunc) { close(stop) },
		"when its time has run out": func(_ chan struct{}, cancel context.CancelCauseFunc) { cancel(worker.ErrWorkerShutdown) },
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			_, in := b.rows(t, 2000, "rowsPerSecond: 100, ")
			b.prepare(t, in)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			stop := make(chan struct{})
			done := b.underWay(t, in, call{ctx: ctx, stop: stop})
			end(stop, cancel)
			require.Equal(t, time.Millisecond, requireRetryable(t, requireSoon(t, done)))
			filled := b.filled(t)
			require.Less(t, filled, 1000, "half of what the cap spreads over twenty seconds")

			b.control(t, in, false, -1)
			lane, err := b.lane(t, in, call{})
			require.NoError(t, err)
			require.Equal(t, int64(2000), lane.Rows)
			require.Equal(t, 2000, b.filled(t))
		})
	}
}

func TestResetFencesALaneThatStillRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 2000, "rowsPerSecond: 100, ")
	b.prepare(t, in)
	done := b.underWay(t, in, call{})
	for range 2 {
		_, err := run[any](t, b, b.acts.ResetBackfill, in, call{})
		require.NoError(t, err)
	}
	filled := b.filled(t)
	requireRetryable(t, requireSoon(t, done), "another attempt has taken this lane over") // whoever took it may have died since
	_, err := b.lane(t, in, call{})
	requirePermanent(t, err, "Backfill", "no checkpoint")
	require.Equal(t, filled, b.filled(t), "nothing was changed after the reset")
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.backfill_lane"))
}

func TestHeartbeatsOfALaneTellItsProgress(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 300, "rowsPerSecond: 100, ")
	in.Total = b.prepare(t, in).Total
	var latest signals.Progress
	_, err := b.lane(t, in, call{onAir: func(raw json.RawMessage) {
		beats := []*signals.Progress{&latest}
		_ = json.Unmarshal(raw, &beats)
	}})
	require.NoError(t, err)
	require.Equal(t, "fill", latest.Step)
	require.Positive(t, latest.Rows)
	require.Positive(t, latest.ChunkRows)
	require.Equal(t, in.Total, latest.Total)
}

// requireSoon takes what comes out of a channel, or fails.
func requireSoon[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case value = <-from:
	case <-timer.C:
		require.FailNow(t, "it did not come")
	}
	return value
}
