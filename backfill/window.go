package backfill

import (
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // an image from scratch has no time zones
)

// Window is a time of day at which the lanes may work, by the clock of the database server.
type Window struct {
	// Days on which it opens. Defaults to every day.
	Days []time.Weekday
	// From and To are times of day on the wall clock, counted from midnight, below 24 h. To at or before From means on the next
	// day. A time that the clock skips or repeats when summer time begins or ends is skipped or repeated here as well.
	From, To time.Duration
	// Zone by its IANA name, for example "Europe/Berlin". Defaults to UTC.
	Zone string
}

const day = 24 * time.Hour

func (w Window) check() error {
	switch _, err := time.LoadLocation(w.Zone); {
	case err != nil || w.Zone == "Local": // Local is another zone on every machine
		return fmt.Errorf("%w: %q is no time zone; give its IANA name, such as Europe/Berlin", ErrSpec, w.Zone)
	case w.From < 0 || w.From >= day || w.To < 0 || w.To >= day:
		return fmt.Errorf("%w: a time window is from %s to %s; give times of day from 0 up to 24h", ErrSpec, w.From, w.To)
	case slices.ContainsFunc(w.Days, func(d time.Weekday) bool { return d < time.Sunday || d > time.Saturday }):
		return fmt.Errorf("%w: a time window opens on a day that is none; give Sunday (0) to Saturday (6)", ErrSpec)
	}
	return nil
}

// open tells whether the window is open, and where it is not, when it opens next.
func (w Window) open(now time.Time) (bool, time.Time) {
	zone, err := time.LoadLocation(w.Zone)
	if err != nil {
		return false, time.Time{} // check knows the zone: its file went away since
	}
	now = now.In(zone)
	if w.shows(now) {
		return true, time.Time{}
	}
	// In a week's time every window has opened, but for one whose only time the clock skips.
	for after := range 15 {
		from := time.Date(now.Year(), now.Month(), now.Day()+after, 0, 0, int(w.From.Seconds()), 0, zone)
		if timeOfDay(from) != w.From.Truncate(time.Second) {
			from = w.skipped(from)
		}
		if from.After(now) && w.shows(from) {
			return false, from
		}
	}
	return false, time.Time{}
}

// shows tells whether a clock that shows t is within the window. It compares what clocks show and never adds to it, so it holds
// on days of 23 and 25 hours too.
func (w Window) shows(t time.Time) bool {
	at := timeOfDay(t)
	if w.From < w.To {
		return w.on(t.Weekday()) && w.From <= at && at < w.To
	}
	return w.on(t.Weekday()) && w.From <= at || w.on((t.Weekday()+6)%7) && at < w.To
}

func (w Window) on(d time.Weekday) bool { return len(w.Days) == 0 || slices.Contains(w.Days, d) }

// skipped finds the opening near from on a day on which the clock jumps over it, to the minute.
func (w Window) skipped(from time.Time) time.Time {
	const jump = 2 * time.Hour // longer than any
	at := from.Add(-jump).Truncate(time.Minute)
	for !w.shows(at) && at.Before(from.Add(jump)) {
		at = at.Add(time.Minute)
	}
	return at
}

func timeOfDay(t time.Time) time.Duration {
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
}

// openAt tells whether any of the windows is open, and where none is, when the next one opens.
func openAt(windows []Window, now time.Time) (bool, time.Time) {
	var next time.Time
	for _, w := range windows {
		open, at := w.open(now)
		if open {
			return true, time.Time{}
		}
		if next.IsZero() || !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return len(windows) == 0, next
}

// until is the time at which a window opens, as it is shown there.
func until(next time.Time) string {
	if next.IsZero() {
		return ""
	}
	return " until " + next.Format("Mon 15:04 ") + next.Location().String()
}
