package plan

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Backfill fills columns of existing rows, in chunks. Exactly one of Set, Transform and Manual says who computes the values.
type Backfill struct {
	// Table, optionally with its schema, quoted as in SQL where needed.
	Table string `json:"table"`
	// Key columns to walk by. Defaults to the primary key.
	Key []string `json:"key,omitempty"`
	// Set maps a column to the SQL expression of its new value.
	Set map[string]string `json:"set,omitempty"`
	// Transform names a Go function of the worker that computes the new values.
	Transform string `json:"transform,omitempty"`
	// Manual leaves the rows to people; the step waits until none matches Where.
	Manual bool `json:"manual,omitempty"`
	// Where selects the rows still to do. Without it every row is changed once, and nothing can be counted afterwards.
	Where string `json:"where,omitempty"`
	// Sync is SyncTrigger where a trigger keeps rows filled that are written meanwhile. Defaults to none.
	Sync string `json:"sync,omitempty"`
	// Lanes is the number of key ranges walked side by side. Defaults to what suits the server's cores and the table's size.
	Lanes int `json:"lanes,omitempty"`
	// ChunkTime is what one transaction aims to take. Defaults to 200ms.
	ChunkTime Duration `json:"chunkTime,omitempty"`
	// RowsPerSecond caps the whole backfill. Defaults to no cap.
	RowsPerSecond int `json:"rowsPerSecond,omitempty"`
	// Vacuum is VacuumInterleaved where the table is vacuumed while it is walked. Defaults to autovacuum alone.
	Vacuum string `json:"vacuum,omitempty"`
	// MaxRejects is how many rows may be set aside because their new values are refused. Defaults to 0.
	MaxRejects int `json:"maxRejects,omitempty"`
	// Windows are the times of day at which lanes may work. Defaults to always.
	Windows []Window `json:"windows,omitempty"`
	// Throttles hold all lanes while a reading is too high. Defaults to none.
	Throttles *Throttles `json:"throttles,omitempty"`
	// Pace protects the application. Defaults to full speed.
	Pace *Pace `json:"pace,omitempty"`
}

// What Backfill.Sync, Backfill.Vacuum and Protect.Unit may say besides nothing.
const (
	SyncTrigger       = "trigger"
	VacuumInterleaved = "interleaved"
	UnitMilliseconds  = "ms" // the default: what latencies are mostly reported in
	UnitSeconds       = "s"  // Prometheus' own
)

// Window is a time of day at which lanes may work.
type Window struct {
	// Days on which it opens: mon, tue, wed, thu, fri, sat, sun. Defaults to every day.
	Days []string `json:"days,omitempty"`
	// From and To are times of day such as 22:00. To before From is on the next day.
	From string `json:"from"`
	To   string `json:"to"`
	// Zone by its IANA name. Defaults to UTC.
	Zone string `json:"zone,omitempty"`
}

// clock is a time of day, in the one form that sorts and can't be misread.
var clock = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])$`)

// days in the order of time.Weekday.
var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Clock is From and To, counted from midnight, each below 24 h. The error says which of them is no time of day.
func (w Window) Clock() (from, to time.Duration, err error) {
	if from, err = timeOfDay(w.From); err != nil {
		return 0, 0, fmt.Errorf("from: %w", err)
	}
	if to, err = timeOfDay(w.To); err != nil {
		return 0, 0, fmt.Errorf("to: %w", err)
	}
	return from, to, nil
}

func timeOfDay(text string) (time.Duration, error) {
	m := clock.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is no time of day: write it as 06:30, from 00:00 to 23:59", text)
	}
	hours, _ := strconv.Atoi(m[1]) // digits, as the pattern says
	minutes, _ := strconv.Atoi(m[2])
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute, nil
}

// Weekdays is Days as the standard library calls them; nil for every day. The error names the one that is none.
func (w Window) Weekdays() ([]time.Weekday, error) {
	var weekdays []time.Weekday
	for _, day := range w.Days {
		i := slices.Index(days, day)
		if i < 0 {
			return nil, fmt.Errorf("%q is no day: write mon, tue, wed, thu, fri, sat or sun", day)
		}
		weekdays = append(weekdays, time.Weekday(i))
	}
	return weekdays, nil
}

// Throttles hold all lanes while a reading is above its bound; nil and zero are no bound.
type Throttles struct {
	// ReplicaLag is the longest lag of a standby.
	ReplicaLag Duration `json:"replicaLag,omitempty"`
	// ArchiveBacklog is the number of WAL files that wait to be archived.
	ArchiveBacklog *int `json:"archiveBacklog,omitempty"`
	// LockWaiters is the number of sessions that wait for a lock on the table.
	LockWaiters *int `json:"lockWaiters,omitempty"`
	// ActiveSessions is the number of client sessions that work at this moment.
	ActiveSessions *int `json:"activeSessions,omitempty"`
	// Queries are numbers of one's own.
	Queries []ThrottleQuery `json:"queries,omitempty"`
}

// ThrottleQuery is a query for one number, and the highest at which lanes still work.
type ThrottleQuery struct {
	Name  string  `json:"name"`
	Query string  `json:"query"`
	Max   float64 `json:"max"`
}

// Pace is how a backfill chooses its speed.
type Pace struct {
	Protect *Protect `json:"protect"`
}

// Protect keeps a latency of the application under a bound; exactly one source of readings is set.
type Protect struct {
	// Name as people see it, for example "p99 of the shop".
	Name string `json:"name,omitempty"`
	// Max is the bound.
	Max        Duration           `json:"max"`
	SQL        *LatencySQL        `json:"sql,omitempty"`
	Prometheus *LatencyPrometheus `json:"prometheus,omitempty"`
	HTTP       *LatencyHTTP       `json:"http,omitempty"`
	// Unit of the reading: UnitMilliseconds or UnitSeconds. Defaults to UnitMilliseconds.
	Unit string `json:"unit,omitempty"`
}

// LatencySQL reads the latency by a query in the target database: one row with one number.
type LatencySQL struct {
	Query string `json:"query"`
}

// LatencyPrometheus reads the latency by an instant query of the Prometheus HTTP API at URL.
type LatencyPrometheus struct {
	URL   string `json:"url"`
	Query string `json:"query"`
}

// LatencyHTTP reads the latency from a JSON document of the application; Field is a path of keys with dots between them.
type LatencyHTTP struct {
	URL   string `json:"url"`
	Field string `json:"field"`
}

// Latency is a reading in the protect's unit as a duration, cut at the longest one there is. A reading that is negative or
// not a number is an error: a quantile over nothing is NaN, and that says nothing about the application.
func (p Protect) Latency(reading float64) (time.Duration, error) {
	if math.IsNaN(reading) || reading < 0 {
		return 0, fmt.Errorf("the reading is %v, which is no latency", reading)
	}
	unit := time.Millisecond
	if p.Unit == UnitSeconds {
		unit = time.Second
	}
	if nanoseconds := reading * float64(unit); nanoseconds < math.MaxInt64 {
		return time.Duration(nanoseconds), nil
	}
	return math.MaxInt64, nil
}
