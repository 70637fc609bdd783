package latency

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestQuantilesWithinTenPercent(t *testing.T) {
	t.Parallel()
	var w Window
	now := time.Unix(1_000_000, 0)
	require.Zero(t, w.quantile(0.5, now))
	for i := range 1000 {
		w.add(time.Duration(i+1)*time.Millisecond, now.Add(time.Duration(i)*time.Millisecond))
	}
	require.InEpsilon(t, 500*time.Millisecond, w.quantile(0.5, now), 0.1)
	require.InEpsilon(t, 990*time.Millisecond, w.quantile(0.99, now), 0.1)
	require.InEpsilon(t, time.Second, w.quantile(1, now), 0.1)
}

func TestOldSecondsAreForgotten(t *testing.T) {
	t.Parallel()
	var w Window
	now := time.Unix(1_000_000, 0)
	w.add(time.Hour, now)
	w.add(time.Nanosecond, now.Add(5*time.Second))
	require.Greater(t, w.quantile(1, now.Add(9*time.Second)), time.Minute)
	require.Equal(t, smallest, w.quantile(1, now.Add(10*time.Second)))
	require.Zero(t, w.quantile(1, now.Add(time.Minute)))
}
