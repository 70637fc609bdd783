package watch

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// steady is running at a pace that leaves some minutes.
func steady() Snapshot {
	s := running()
	for i := range s.Progress {
		s.Progress[i].RowsPerSecond, s.Progress[i].ScannedPerSecond, s.Progress[i].Holding = 1_400, 1_500, ""
	}
	return s
}

// people is running with people in place of lanes.
func people(left int64) Snapshot {
	s := running()
	s.Progress, s.Manual = nil, &signals.Manual{Step: "fill", Left: left, AtFirst: 100}
	s.Status.Steps[2].State = signals.StepWaiting
	s.tellManual()
	return s
}

func TestTheTimeLeftIsToldWhileEveryLaneMoves(t *testing.T) {
	t.Parallel()
	drawn := func(s Snapshot) string { return strings.Join(Render(s, Style{}), "\n") }
	require.Contains(t, drawn(steady()), "2,800 rows/s  about 3 min left")

	capped := steady()
	capped.Progress[0].Holding, capped.Progress[0].Paced = "rows per second", true
	require.Contains(t, drawn(capped), "about 3 min left", "a cap is a pace")

	still := steady()
	still.Progress[1].Holding = "replica lag is 12 s, 10 s are allowed"
	require.NotContains(t, drawn(still), "left", "nobody knows how long it holds")

	old := steady()
	for i := range old.Progress {
		old.Progress[i].ScannedPerSecond = 0 // of an older worker
	}
	require.NotContains(t, drawn(old), "left")

	before := steady()
	before.Progress = nil
	require.Contains(t, strings.Join(Changes(&before, steady()), "\n"), "backfill fill: 412,345 of ~1,000,000 rows, 2,800 rows/s, about 3 min left")

	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "1 s", 42 * time.Second: "42 s", 196 * time.Second: "3 min", 59*time.Minute + 20*time.Second: "59 min",
		130*time.Minute + 40*time.Second: "2 h 11 min", 50 * time.Hour: "2 d 2 h",
	} {
		require.Equal(t, want, roughly(d))
	}
}

func TestALongReasonToHoldIsShortened(t *testing.T) {
	t.Parallel()
	s := running()
	s.Progress[1].Holding = strings.Repeat("replica lag is 12 s, 10 s are allowed; ", 40)
	lines := 0
	for _, l := range Render(s, Style{Width: 100}) {
		if strings.Contains(l, "replica lag") {
			lines++
		}
	}
	require.Equal(t, 3, lines)
	before := running()
	before.Progress = nil
	for _, l := range Changes(&before, s) {
		require.Less(t, width(l), maxHolding+40)
	}
}

func TestWhatPeopleHaveLeftIsTold(t *testing.T) {
	t.Parallel()
	require.Contains(t, strings.Join(Render(people(37), Style{}), "\n"), "37 rows left for people to do")
	require.Contains(t, strings.Join(Render(people(1), Style{}), "\n"), "1 row left for people to do")

	first, same, later := people(95), people(91), people(85)
	told := func(before *Snapshot, now Snapshot) []string {
		var lines []string
		for _, l := range Changes(before, now) {
			if strings.Contains(l, "rows left for people to do") {
				lines = append(lines, l)
			}
		}
		return lines
	}
	before := people(100)
	before.Manual = nil
	require.Equal(t, []string{"14:02:14  backfill fill: 95 rows left for people to do"}, told(&before, first))
	require.Empty(t, told(&first, same), "less than a tenth is no news")
	require.Equal(t, []string{"14:02:14  backfill fill: 85 rows left for people to do"}, told(&same, later))
}
