package backfill_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
)

// The cap makes the pace steady and the truth known: what is told in the second half comes true within a fifth.
func TestTheTimeLeftComesTrue(t *testing.T) {
	t.Parallel()
	const rows, perSecond = 10_000, 1_000
	b := setup(t, numbers(rows))
	spec := counting("numbers")
	spec.Lanes, spec.RowsPerSecond = 1, perSecond
	spec.ChunkTime = time.Millisecond // small chunks: between two of them the time left stands still
	_, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{})
		ended <- err
	}()
	type told struct {
		at   time.Time
		left time.Duration
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
			if 2*o.Scanned >= o.Total && o.ETA > 0 {
				all = append(all, told{time.Now(), o.ETA})
			}
		}
	}
	end := time.Now()
	require.Greater(t, len(all), 10)
	for _, was := range all {
		truth := end.Sub(was.at)
		if truth > 2*time.Second { // nearer to the end a fifth is little more than the pause under a cap
			require.InEpsilon(t, truth.Seconds(), was.left.Seconds(), 0.2, "%s before the end it was %s", truth, was.left)
		}
	}
	o, err := b.Overview(t.Context(), spec)
	require.NoError(t, err)
	require.Zero(t, o.ETA, "nothing is left")
}
