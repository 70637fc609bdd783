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

// steady tells whether the pace was perSecond within a tenth for the last seconds, up to the last look.
func steady(looks []told, seconds, perSecond float64) bool {
	now := looks[len(looks)-1]
	for i := len(looks) - 1; i >= 0; i-- {
		if passed := now.at.Sub(looks[i].at).Seconds(); passed >= seconds {
			return math.Abs(float64(now.scanned-looks[i].scanned)/passed/perSecond-1) < 0.1
		}
	}
	return false
}

// What is told while the pace is steady comes true within a fifth. The cap makes the pace, and so the truth, known; a machine that
// cannot keep up with it for a while is not steady, and what was told then is not judged: the test goes on until it was often enough.
func TestTheTimeLeftComesTrue(t *testing.T) {
	t.Parallel()
	const rows, perSecond, enough = 60_000, 300, 50
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.Lanes, spec.RowsPerSecond = 1, perSecond
	spec.ChunkTime = time.Millisecond // small chunks: between two of them the time left stands still
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)

	// The first half is walked at any pace, which the attempt at the second one knows nothing of.
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
			require.FailNow(t, "the machine never keeps up with the cap", "%v", err)
		case <-look.C:
		}
		o, err := b.Overview(t.Context(), spec)
		require.NoError(t, err)
		looks = append(looks, told{time.Now(), o.Scanned})
		// An older pace weighs little in what is told, and the last seconds' weighs most.
		if steady(looks, 10, perSecond) && steady(looks, 5, perSecond) {
			judged++
			truth := float64(rows-o.Scanned) / perSecond
			require.InEpsilon(t, truth, o.ETA.Seconds(), 0.2, "%.1f s before the end it was %s", truth, o.ETA)
		}
	}
	require.NoError(t, b.SetControl(t.Context(), spec.Plan, spec.Step, backfill.Control{RowsPerSecond: backfill.NoCap}))
	require.NoError(t, receive(t, ended))
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, o.ETA, "nothing is left")
}
