package plan

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is a path of keys, with dots between them.
var field = regexp.MustCompile(`^[^.\s]+(\.[^.\s]+)*$`)

func (d *decoder) backfill(at string, b *Backfill) {
	d.required(at+".table", b.Table, "name the table")
	d.distinct(at+".key", b.Key, "column")
	if b.Lanes > MaxLanes {
		d.report(at+".lanes", "must be %d at most", MaxLanes)
	}
	if n := d.count(at, "set", "transform", "manual"); n != 1 {
		d.report(at, "a backfill has exactly one of set, transform, manual; this one has %d", n)
	} else {
		d.work(at, b)
	}
	d.oneOf(at+".sync", b.Sync, SyncTrigger)
	d.oneOf(at+".vacuum", b.Vacuum, VacuumInterleaved)
	d.windows(at+".windows", b.Windows)
	if b.Throttles != nil && !d.isBroken(at+".throttles") {
		d.throttles(at+".throttles", b.Throttles)
	}
	if b.Pace != nil && !d.isBroken(at+".pace") {
		d.pace(at+".pace", b)
	}
}

// walking are the keys that say how lanes walk: where people do the work nothing would heed them.
var walking = []string{"key", "sync", "lanes", "chunkTime", "rowsPerSecond", "vacuum", "maxRejects", "windows", "throttles", "pace"}

// work checks who computes the values, and what that asks of the other keys.
func (d *decoder) work(at string, b *Backfill) {
	switch {
	case d.stands(at + ".manual"):
		if !b.Manual && !d.isBroken(at+".manual") {
			d.report(at+".manual", "must be true; give set or transform instead where people don't do the work")
		}
		d.required(at+".where", b.Where, "people have done the work when no row matches it any more")
		for _, key := range walking {
			if d.stands(at + "." + key) {
				d.report(at+"."+key, "says how lanes walk, and there are none where people do the work: remove it")
			}
		}
	case d.stands(at + ".transform"):
		d.required(at+".transform", b.Transform, "name a transform that the worker knows")
		if d.stands(at + ".sync") {
			d.report(at+".sync", "a trigger runs in the database and can't call a transform of the worker: remove it, or give set")
		}
	default:
		d.assignments(at+".set", b.Set)
		if d.stands(at+".sync") && strings.TrimSpace(b.Where) == "" && !d.isBroken(at+".where") {
			d.report(at+".sync", "needs where: the trigger fills the rows that match it")
		}
	}
}

func (d *decoder) assignments(at string, set map[string]string) {
	if len(set) == 0 && !d.isBroken(at) {
		d.report(at, "is missing: give at least one column and the SQL expression of its new value")
	}
	for _, column := range sortedKeys(set) {
		if strings.TrimSpace(column) == "" {
			d.report(join(at, column), "the column has no name")
		}
		d.required(join(at, column), set[column], "give the SQL expression of the new value")
	}
}

func (d *decoder) windows(at string, windows []Window) {
	if len(windows) == 0 && d.given(at) {
		d.report(at, "is empty: give at least one window, or remove it for always")
	}
	for i, w := range windows {
		if at := at + "[" + strconv.Itoa(i) + "]"; !d.isBroken(at) {
			d.window(at, w)
		}
	}
}

func (d *decoder) window(at string, w Window) {
	if len(w.Days) == 0 && d.given(at+".days") {
		d.report(at+".days", "is empty: list the days, or remove it for every day")
	}
	for i, day := range w.Days {
		item := at + ".days[" + strconv.Itoa(i) + "]"
		switch _, err := (Window{Days: []string{day}}).Weekdays(); {
		case d.isBroken(item):
		case err != nil:
			d.report(item, "%s", err)
		case slices.Contains(w.Days[:i], day):
			d.report(item, "day %q is listed twice", day)
		}
	}
	from, to := d.timeOfDay(at+".from", w.From), d.timeOfDay(at+".to", w.To)
	if from && to && w.From == w.To {
		d.report(at+".to", "is the same as from: for a whole day give two windows, 00:00 to 12:00 and 12:00 to 00:00")
	}
	if d.given(at + ".zone") {
		// Local would be another zone on every machine.
		if _, err := time.LoadLocation(w.Zone); err != nil || w.Zone == "" || w.Zone == "Local" {
			d.report(at+".zone", "%q is no time zone: write its IANA name, such as Europe/Berlin", w.Zone)
		}
	}
}

func (d *decoder) timeOfDay(at, value string) bool {
	if d.isBroken(at) {
		return false
	}
	if value == "" {
		d.report(at, "is missing: give a time of day such as 22:00")
		return false
	}
	if _, err := timeOfDay(value); err != nil {
		d.report(at, "%s", err)
		return false
	}
	return true
}

// ownReadings are the names under which the readings of contraflow itself are reported.
// The last of them is what a protected latency is called that has no name.
var ownReadings = []string{"replica lag", "WAL archive backlog", "lock waiters", "active sessions",
	"autovacuum that prevents wraparound", DefaultLatencyName}

func (d *decoder) throttles(at string, t *Throttles) {
	if d.count(at, "replicaLag", "archiveBacklog", "lockWaiters", "activeSessions", "queries") == 0 {
		d.report(at, "is empty: give at least one of replicaLag, archiveBacklog, lockWaiters, activeSessions, queries")
	}
	d.positive(at+".replicaLag", t.ReplicaLag)
	if len(t.Queries) == 0 && d.given(at+".queries") {
		d.report(at+".queries", "is empty: give at least one query, or remove it")
	}
	for i, q := range t.Queries {
		at := at + ".queries[" + strconv.Itoa(i) + "]"
		if d.isBroken(at) {
			continue
		}
		d.required(at+".name", q.Name, "name the reading as it shall be reported")
		taken := slices.ContainsFunc(t.Queries[:i], func(other ThrottleQuery) bool { return other.Name == q.Name })
		if q.Name != "" && (taken || slices.Contains(ownReadings, q.Name)) {
			d.report(at+".name", "reading %q is there already: give each a name of its own", q.Name)
		}
		d.required(at+".query", q.Query, "give a query that returns one number")
		if !d.stands(at + ".max") {
			d.report(at+".max", "is missing: give the highest number at which the lanes still work")
		}
	}
}

func (d *decoder) pace(at string, b *Backfill) {
	at += ".protect"
	p := b.Pace.Protect
	if p == nil {
		d.report(at, "is missing: say which latency to keep under which bound, or remove pace")
		return
	}
	if d.isBroken(at) {
		return
	}
	if d.given(at+".name") && strings.TrimSpace(p.Name) == "" {
		d.report(at+".name", "is empty: name the latency as it shall be reported, or remove it")
	}
	taken := b.Throttles != nil && slices.ContainsFunc(b.Throttles.Queries, func(q ThrottleQuery) bool { return q.Name == p.Name })
	if p.Name != "" && (taken || p.Name != DefaultLatencyName && slices.Contains(ownReadings, p.Name)) {
		d.report(at+".name", "reading %q is there already: give each a name of its own", p.Name)
	}
	if !d.stands(at + ".max") {
		d.report(at+".max", "is missing: give the bound, such as 20ms")
	}
	d.positive(at+".max", p.Max)
	d.oneOf(at+".unit", p.Unit, UnitMilliseconds, UnitSeconds)
	if n := d.count(at, "sql", "prometheus", "http"); n != 1 {
		d.report(at, "the latency is read from exactly one of sql, prometheus, http; here are %d", n)
	}
	if p.SQL != nil {
		d.required(at+".sql.query", p.SQL.Query, "give a query that returns one number")
	}
	if p.Prometheus != nil && !d.isBroken(at+".prometheus") {
		d.url(at+".prometheus.url", p.Prometheus.URL, "http://127.0.0.1:9090")
		d.required(at+".prometheus.query", p.Prometheus.Query, "give a query that returns one number")
	}
	if p.HTTP != nil && !d.isBroken(at+".http") {
		d.url(at+".http.url", p.HTTP.URL, "http://127.0.0.1:8080/latency")
		if !field.MatchString(p.HTTP.Field) && !d.isBroken(at+".http.field") {
			d.report(at+".http.field", "must be a key of the document such as p99_ms, or a path of keys such as latency.p99_ms")
		}
	}
}

func (d *decoder) positive(at string, v Duration) {
	if d.given(at) && v <= 0 {
		d.report(at, "must be longer than zero")
	}
}

// oneOf checks a word, where one is given.
func (d *decoder) oneOf(at, value string, words ...string) {
	if d.given(at) && !slices.Contains(words, value) {
		d.report(at, "must be %s, not %q", strings.Join(words, " or "), value)
	}
}
