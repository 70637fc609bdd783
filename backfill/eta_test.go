package backfill_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// told is what one look at a lane has shown.
type told struct {
	at      time.Time
	scanned int64
}

// pace of the last seconds, up to the last look, in rows per second; 0 where the looks do not reach back so far.
func pace(looks []told, seconds float64) float64 {
	now := looks[len(looks)-1]
	for i := len(looks) - 1; i >= 0; i-- {
		if passed := now.at.Sub(looks[i].at).Seconds(); passed >= seconds {
			return float64(now.scanned-looks[i].scanned) / passed
		}
	}
	return 0
}

// What is told while the pace is steady comes true within a fifth. The cap makes the pace steady; while a machine cannot keep up
// with it nothing is judged, and the test goes on until it has judged often enough.
func TestTheTimeLeftComesTrue(t *testing.T) {
	t.Parallel()
	const rows, perSecond, enough = 60_000, 300, 50
	sql, spec := slow(rows) // small chunks: between two of them the time left stands still
	spec.Lanes, spec.RowsPerSecond = 1, perSecond
	b := setup(t, sql)
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)

	// The first half is walked at any pace, which the attempt at the second one knows nothing of.
	b.hurry(t)
	quick := spec
	quick.RowsPerSecond = 0
	stop := make(chan struct{})
	half := sync.OnceFunc(func() { close(stop) })
	_, err = b.RunLane(t.Context(), quick, 0, backfill.LaneOptions{Stop: stop, Report: func(p backfill.Progress) {
		if p.Scanned > rows/2 {
			half()
		}
	}})
	require.ErrorIs(t, err, backfill.ErrStopped)

	b.exec(t, "update nap set seconds = 0.0001")
	ended := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		ended <- err
	}()
	var looks []told
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for judged := 0; judged < enough; {
		select {
		case err := <-ended:
			require.FailNow(t, "the pace is never steady", "%v", err)
		case <-look.C:
		}
		o, err := b.Overview(t.Context(), spec)
		require.NoError(t, err)
		looks = append(looks, told{time.Now(), o.Scanned})
		steady := pace(looks, 10) // what was before that weighs little in what is told
		if math.Abs(pace(looks, 5)-steady) < steady/10 && math.Abs(pace(looks, 2)-steady) < steady/10 {
			judged++
			truth := float64(rows-o.Scanned) / steady
			require.InEpsilon(t, truth, o.ETA.Seconds(), 0.2, "%.1f s before the end it was %s", truth, o.ETA)
		}
	}
	b.hurry(t)
	require.NoError(t, b.SetControl(t.Context(), spec.Plan, spec.Step, backfill.Control{RowsPerSecond: backfill.NoCap}))
	require.NoError(t, receive(t, ended))
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, o.ETA, "nothing is left")
}
