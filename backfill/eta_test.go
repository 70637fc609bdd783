package backfill_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// What is told while the pace is steady comes true within a fifth. The cap makes the pace, and so the truth, known; a machine that
// cannot keep up with it for a while is not steady, and what was told then is not judged.
func TestTheTimeLeftComesTrue(t *testing.T) {
	t.Parallel()
	const rows, perSecond = 6_000, 300
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.Lanes, spec.RowsPerSecond = 1, perSecond
	spec.ChunkTime = 5 * time.Millisecond // small chunks: between two of them the time left stands still
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		ended <- err
	}()
	type told struct {
		at      time.Time
		scanned int64
		left    time.Duration
	}
	var all []told
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for over := false; !over; {
		select {
		case err := <-ended:
			require.NoError(t, err)
			over = true
		case <-look.C:
			o, err := b.Overview(t.Context(), spec)
			require.NoError(t, err)
			all = append(all, told{time.Now(), o.Scanned, o.ETA})
		}
	}
	judged := 0
	for i, now := range all {
		truth := float64(rows-now.scanned) / perSecond
		if 2*now.scanned < rows || truth < 2 { // nearer to the end a fifth is little more than the pause under a cap
			continue
		}
		const window = 5.0 // seconds
		before := slices.IndexFunc(all[:i], func(w told) bool { return now.at.Sub(w.at).Seconds() <= window })
		if before < 0 {
			continue
		}
		pace := float64(now.scanned-all[before].scanned) / now.at.Sub(all[before].at).Seconds()
		if math.Abs(pace/perSecond-1) > 0.1 {
			continue
		}
		judged++
		require.InEpsilon(t, truth, now.left.Seconds(), 0.2, "%.1f s before the end it was %s", truth, now.left)
	}
	require.Greater(t, judged, 10, "the machine keeps up with the cap")
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, o.ETA, "nothing is left")
}
