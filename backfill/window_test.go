package backfill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func clock(t require.TestingT, zone, at string) time.Time {
	l, err := time.LoadLocation(zone)
	require.NoError(t, err)
	now, err := time.ParseInLocation("2006-01-02 15:04:05", at, l)
	require.NoError(t, err)
	return now
}

func TestWindows(t *testing.T) {
	t.Parallel()
	night := Window{From: 22 * time.Hour, To: 5 * time.Hour, Zone: "Europe/Berlin"}
	weekend := Window{Days: []time.Weekday{time.Saturday, time.Sunday}, From: 8 * time.Hour, To: 20 * time.Hour}
	friday := Window{Days: []time.Weekday{time.Friday}, From: 23*time.Hour + 30*time.Minute, To: time.Hour}
	allDay := Window{Days: []time.Weekday{time.Monday}}
	for _, c := range []struct {
		name    string
		windows []Window
		zone    string
		now     string
		next    string // empty: open
	}{
		{"no windows", nil, "UTC", "2026-07-01 12:00:00", ""},
		{"before midnight", []Window{night}, "Europe/Berlin", "2026-07-01 22:00:00", ""},
		{"after midnight", []Window{night}, "Europe/Berlin", "2026-07-01 04:59:59", ""},
		{"at its end", []Window{night}, "Europe/Berlin", "2026-07-01 05:00:00", "Wed 22:00 Europe/Berlin"},
		{"in another zone than now's", []Window{night}, "UTC", "2026-07-01 20:00:00", ""},
		{"the same in winter", []Window{night}, "UTC", "2026-12-01 20:59:59", "Tue 22:00 Europe/Berlin"},
		{"a day it does not open", []Window{weekend}, "UTC", "2026-07-01 12:00:00", "Sat 08:00 UTC"},
		{"its last day", []Window{weekend}, "UTC", "2026-07-05 19:59:59", ""},
		{"after its last day", []Window{weekend}, "UTC", "2026-07-05 20:00:00", "Sat 08:00 UTC"},
		{"past midnight of its day", []Window{friday}, "UTC", "2026-07-04 00:30:00", ""},
		{"midnight of another day", []Window{friday}, "UTC", "2026-07-03 00:30:00", "Fri 23:30 UTC"},
		{"a week later", []Window{friday}, "UTC", "2026-07-04 01:00:00", "Fri 23:30 UTC"},
		{"a whole day", []Window{allDay}, "UTC", "2026-07-06 23:59:59", ""},
		{"after a whole day", []Window{allDay}, "UTC", "2026-07-07 00:00:00", "Mon 00:00 UTC"},
		{"one of two is open", []Window{friday, weekend}, "UTC", "2026-07-04 12:00:00", ""},
		{"the sooner of two", []Window{weekend, friday}, "UTC", "2026-07-03 12:00:00", "Fri 23:30 UTC"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			open, next := openAt(c.windows, clock(t, c.zone, c.now))
			require.Equal(t, c.next == "", open)
			if !open {
				require.Equal(t, " until "+c.next, until(next))
			}
		})
	}
}

// In Berlin the clock goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
func TestWindowsWhenTheClockIsChanged(t *testing.T) {
	t.Parallel()
	gap := Window{From: 2*time.Hour + 15*time.Minute, To: 2*time.Hour + 45*time.Minute, Zone: "Europe/Berlin"}
	across := Window{From: 2*time.Hour + 30*time.Minute, To: 4 * time.Hour, Zone: "Europe/Berlin"}
	spring := clock(t, "Europe/Berlin", "2026-03-29 01:59:59")

	open, next := gap.open(spring)
	require.False(t, open)
	require.Equal(t, "2026-03-30T02:15:00+02:00", next.Format(time.RFC3339), "the clock never shows it on that day")
	open, next = across.open(spring)
	require.False(t, open)
	require.Equal(t, "2026-03-29T03:00:00+02:00", next.Format(time.RFC3339), "as soon as the clock has jumped")
	open, _ = across.open(spring.Add(time.Second))
	require.True(t, open)

	autumn := clock(t, "UTC", "2026-10-25 00:15:00") // 02:15 for the first time
	for _, offset := range []time.Duration{0, time.Hour} {
		open, _ = gap.open(autumn.Add(offset))
		require.True(t, open, "shown twice, open twice")
		open, _ = gap.open(autumn.Add(offset + 30*time.Minute))
		require.False(t, open)
	}
	night := Window{From: 22 * time.Hour, To: 5 * time.Hour, Zone: "Europe/Berlin"}
	for _, evening := range []string{"2026-03-28 22:00:00", "2026-10-24 22:00:00"} {
		hours := 0
		for at := clock(t, "Europe/Berlin", evening); ; at = at.Add(time.Hour) {
			if open, _ := night.open(at); !open {
				require.Equal(t, "05:00", at.In(at.Location()).Format("15:04"))
				break
			}
			hours++
		}
		require.Equal(t, map[string]int{"2026-03-28 22:00:00": 6, "2026-10-24 22:00:00": 8}[evening], hours)
	}
}

func TestTheNextOpeningIsTheFirst(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago"}
	rapid.Check(t, func(t *rapid.T) {
		w := Window{From: time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "from")) * time.Minute,
			To: time.Duration(rapid.IntRange(0, 24*60-1).Draw(t, "to")) * time.Minute, Zone: rapid.SampledFrom(zones).Draw(t, "zone"),
			Days: rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 6), func(d int) time.Weekday { return time.Weekday(d) }), 0, 3).Draw(t, "days")}
		require.NoError(t, w.check())
		now := time.Unix(rapid.Int64Range(1_767_225_600, 1_798_761_600).Draw(t, "now")/60*60, 0)
		open, next := w.open(now)
		if open {
			return
		}
		if next.IsZero() {
			require.Len(t, w.Days, 1, "only a window that is skipped, and that on its only day")
			return
		}
		require.True(t, next.After(now))
		opened, _ := w.open(next)
		require.True(t, opened)
		// A time shown twice may be named by its second showing.
		for at := now; at.Before(next.Add(-time.Hour)); at = at.Add(7 * time.Minute) {
			opened, _ := w.open(at)
			require.False(t, opened, at)
		}
	})
}

func TestWindowCheck(t *testing.T) {
	t.Parallel()
	for _, w := range []Window{{Zone: "Europe/Atlantis"}, {Zone: "Local"}, {From: -time.Second}, {From: day}, {To: day},
		{Days: []time.Weekday{7}}} {
		require.ErrorIs(t, w.check(), ErrSpec)
	}
	require.NoError(t, Window{}.check())
}
