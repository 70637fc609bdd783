package plan

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const set = "table: t, set: {a: b}, where: w, "

func window(keys string) string    { return backfill(set + "windows: [{" + keys + "}]") }
func throttles(keys string) string { return backfill(set + "throttles: {" + keys + "}") }
func protect(keys string) string   { return backfill(set + "pace: {protect: {" + keys + "}}") }

const syncing = "{name: fill, backfill: {table: t, set: {a: b}, where: w, sync: trigger}}"

// below is a plan with this step behind a sync trigger, a proof and a permission.
func below(step string) string {
	return "migrations: m\n" + steps(syncing, "{name: prove, verify: {query: q, max: 0}}", "{name: may, approve: {by: [x]}}", "{name: change, "+step+"}",
		"{name: drop, migrate: {to: 7, irreversible: true}}", "{name: later, migrate: {to: 8}}")
}

const (
	notManual = "says how lanes walk, and there are none where people do the work: remove it"
	fill      = "steps[0].backfill"
)

// More of the rules, in the manner of those above them: what a backfill may say.
var backfillRules = []rule{
	{"somebody does the work", backfill("table: t, where: w"), fill + ": a backfill has exactly one of set, transform, manual; this one has 0", backfill("table: t, where: w, manual: true")},
	{"one does the work", backfill("table: t, transform: f, set: {a: b}"), fill + ": a backfill has exactly one of set, transform, manual; this one has 2", backfill("table: t, transform: f")},
	{"work is not left to all", backfill("table: t, manual: true, transform: f, set: {a: b}"), fill + ": a backfill has exactly one of set, transform, manual; this one has 3", backfill("table: t, set: {a: b}")},
	{"a transform has a name", backfill("table: t, transform: ' '"), fill + ".transform: is missing: name a transform that the worker knows", backfill("table: t, transform: Sum of digits")},
	{"a transform is a text", backfill("table: t, transform: [f]"), fill + ".transform: must be a text, not a list", backfill("table: t, transform: f, key: [a], where: w, maxRejects: 1, vacuum: interleaved")},
	{"manual is true", backfill("table: t, manual: false, where: w"), fill + ".manual: must be true; give set or transform instead where people don't do the work", backfill("table: t, manual: True, where: w")},
	{"manual is a boolean", backfill("table: t, manual: 'true', where: w"), fill + ".manual: must be true or false, not a text", backfill("table: t, manual: true, where: w")},
	{"manual work can be counted", backfill("table: t, manual: true"), fill + ".where: is missing: people have done the work when no row matches it any more", backfill("table: t, manual: true, where: w")},
	{"manual work is not walked by a key", backfill("table: t, manual: true, where: w, key: [a]"), fill + ".key: " + notManual, backfill("table: t, set: {a: b}, where: w, key: [c]")},
	{"manual work has no lanes", backfill("table: t, manual: true, where: w, lanes: 0"), fill + ".lanes: " + notManual, backfill(set + "lanes: 3")},
	{"manual work has no chunks", backfill("table: t, manual: true, where: w, chunkTime: 1s"), fill + ".chunkTime: " + notManual, backfill(set + "chunkTime: 1s")},
	{"manual work has no rate", backfill("table: t, manual: true, where: w, rowsPerSecond: 1"), fill + ".rowsPerSecond: " + notManual, backfill(set + "rowsPerSecond: 1")},
	{"manual work has no pace", backfill("table: t, manual: true, where: w, pace: {protect: {max: 1s, sql: {query: q}}}"), fill + ".pace: " + notManual, protect("max: 1s, sql: {query: q}")},
	{"manual work is not vacuumed", backfill("table: t, manual: true, where: w, vacuum: interleaved"), fill + ".vacuum: " + notManual, backfill(set + "vacuum: interleaved")},
	{"manual work has no rejects", backfill("table: t, manual: true, where: w, maxRejects: 0"), fill + ".maxRejects: " + notManual, backfill(set + "maxRejects: 0")},
	{"manual work has no trigger", backfill("table: t, manual: true, where: w, sync: trigger"), fill + ".sync: " + notManual, backfill(set + "sync: trigger")},
	{"manual work has no windows", backfill("table: t, manual: true, where: w, windows: [{from: '00:00', to: '12:00'}]"), fill + ".windows: " + notManual, window("from: '00:00', to: '12:00'")},
	{"manual work has no throttles", backfill("table: t, manual: true, where: w, throttles: {lockWaiters: 3}"), fill + ".throttles: " + notManual, throttles("lockWaiters: 3")},

	{"a sync is a trigger", backfill(set + "sync: logical"), fill + `.sync: must be trigger, not "logical"`, backfill(set + "sync: trigger")},
	{"a sync is not empty", backfill(set + "sync: ''"), fill + `.sync: must be trigger, not ""`, backfill("table: t, set: {a: b}, where: w")},
	{"a trigger calls no transform", backfill("table: t, transform: f, where: w, sync: trigger"), fill + ".sync: a trigger runs in the database and can't call a transform of the worker: remove it, or give set", backfill("table: t, transform: f, where: w")},
	{"no schema is changed below a trigger", below("migrate: {to: 2}"), "steps[3].migrate: the sync trigger of step \"fill\" stands until the next irreversible migrate, " +
		"and fails the application's writes where a schema is changed below it: put this step before that one, or behind the irreversible migrate, or mark it irreversible",
		below("migrate: {to: 2, irreversible: true}")},
	{"no schema is changed below a trigger that stands to the end", "migrations: m\n" + steps(syncing, "{name: more, migrate: {to: 1}}"),
		"steps[1].migrate: the sync trigger of step \"fill\" stands until the next irreversible migrate, " +
			"and fails the application's writes where a schema is changed below it: put this step before that one, or behind the irreversible migrate, or mark it irreversible",
		"migrations: m\n" + steps("{name: more, migrate: {to: 1}}", syncing)},
	{"a trigger needs a condition", backfill("table: t, set: {a: b}, sync: trigger"), fill + ".sync: needs where: the trigger fills the rows that match it", backfill("table: t, set: {a: b}, sync: trigger, where: a is null")},
	{"a trigger's condition is not empty", backfill("table: t, set: {a: b}, where: '', sync: trigger"), fill + ".sync: needs where: the trigger fills the rows that match it", backfill("table: t, set: {a: b}, where: ''")},
	{"a vacuum is interleaved", backfill(set + "vacuum: full"), fill + `.vacuum: must be interleaved, not "full"`, backfill(set + "vacuum: interleaved")},
	{"a vacuum is no boolean", backfill(set + "vacuum: true"), fill + ".vacuum: must be a text, not true or false (put it in quotes)", backfill(set + "vacuum: 'interleaved'")},
	{"rejects are not negative", backfill(set + "maxRejects: -1"), fill + ".maxRejects: must be a whole number from 0 to 2147483647 in decimal digits", backfill(set + "maxRejects: 0")},

	{"windows are a list", backfill(set + "windows: {from: '1', to: '2'}"), fill + ".windows: must be a list, not a mapping", window("from: 22:00, to: 06:00")},
	{"there is a window", backfill(set + "windows: []"), fill + ".windows: is empty: give at least one window, or remove it for always", window("from: '22:00', to: '06:00'")},
	{"a window opens", window("to: '06:00'"), fill + ".windows[0].from: is missing: give a time of day such as 22:00", window("from: '22:00', to: '06:00'")},
	{"a window closes", window("from: '06:00', to: ''"), fill + ".windows[0].to: is missing: give a time of day such as 22:00", window("from: '06:00', to: '00:00'")},
	{"a time of day has two digits", window("from: '6:00', to: '22:00'"), fill + `.windows[0].from: "6:00" is no time of day: write it as 06:30, from 00:00 to 23:59`, window("from: '06:00', to: '22:00'")},
	{"a day ends before 24:00", window("from: '22:00', to: '24:00'"), fill + `.windows[0].to: "24:00" is no time of day: write it as 06:30, from 00:00 to 23:59`, window("from: '22:00', to: '23:59'")},
	{"an hour ends before 60", window("from: '22:60', to: '23:59'"), fill + `.windows[0].from: "22:60" is no time of day: write it as 06:30, from 00:00 to 23:59`, window("from: '22:59', to: '23:59'")},
	{"a time of day is a text", window("from: 22, to: '23:59'"), fill + ".windows[0].from: must be a text, not a number (put it in quotes)", window("from: 22:00, to: '23:59'")},
	{"a window has a length", window("from: '22:00', to: '22:00'"), fill + ".windows[0].to: is the same as from: for a whole day give two windows, 00:00 to 12:00 and 12:00 to 00:00", backfill(set + "windows: [{days: [sat], from: '00:00', to: '12:00'}, {days: [sat], from: '12:00', to: '00:00'}]")},
	{"a day is short", window("days: [mon, Tuesday], from: '01:00', to: '02:00'"), fill + `.windows[0].days[1]: "Tuesday" is no day: write mon, tue, wed, thu, fri, sat or sun`, window("days: [mon, tue, wed, thu, fri, sat, sun], from: '01:00', to: '02:00'")},
	{"a day is listed once", window("days: [sat, sun, sat], from: '01:00', to: '02:00'"), fill + `.windows[0].days[2]: day "sat" is listed twice`, window("days: [sat, sun], from: '01:00', to: '02:00'")},
	{"days are not empty", window("days: [], from: '01:00', to: '02:00'"), fill + ".windows[0].days: is empty: list the days, or remove it for every day", window("from: '01:00', to: '02:00'")},
	{"a zone is known", window("from: '01:00', to: '02:00', zone: Europe/Berlim"), fill + `.windows[0].zone: "Europe/Berlim" is no time zone: write its IANA name, such as Europe/Berlin`, window("from: '01:00', to: '02:00', zone: Europe/Berlin")},
	{"a zone is the same everywhere", window("from: '01:00', to: '02:00', zone: Local"), fill + `.windows[0].zone: "Local" is no time zone: write its IANA name, such as Europe/Berlin`, window("from: '01:00', to: '02:00', zone: UTC")},
	{"a zone is not empty", window("from: '01:00', to: '02:00', zone: ''"), fill + `.windows[0].zone: "" is no time zone: write its IANA name, such as Europe/Berlin`, window("from: '01:00', to: '02:00'")},

	{"throttles read something", backfill(set + "throttles: {}"), fill + ".throttles: is empty: give at least one of replicaLag, archiveBacklog, lockWaiters, activeSessions, queries", throttles("archiveBacklog: 0")},
	{"a replica may lag", throttles("replicaLag: 0s"), fill + ".throttles.replicaLag: must be longer than zero", throttles("replicaLag: 1ms")},
	{"a throttle counts", throttles("activeSessions: 1.5"), fill + ".throttles.activeSessions: must be a whole number from 0 to 2147483647 in decimal digits", throttles("activeSessions: 0")},
	{"queries are not empty", throttles("queries: []"), fill + ".throttles.queries: is empty: give at least one query, or remove it", throttles("queries: [{name: n, query: q, max: 0}]")},
	{"a throttle has a name", throttles("queries: [{query: q, max: 1}]"), fill + ".throttles.queries[0].name: is missing: name the reading as it shall be reported", throttles("queries: [{name: n, query: q, max: 1}]")},
	{"throttles have names of their own", throttles("queries: [{name: n, query: q, max: 1}, {name: n, query: r, max: 1}]"), fill + `.throttles.queries[1].name: reading "n" is there already: give each a name of its own`, throttles("queries: [{name: n, query: q, max: 1}, {name: m, query: q, max: 1}]")},
	{"a throttle is not called like one that is there", throttles("lockWaiters: 3, queries: [{name: lock waiters, query: q, max: 1}]"), fill + `.throttles.queries[0].name: reading "lock waiters" is there already: give each a name of its own`, throttles("lockWaiters: 3, queries: [{name: lock waiters of mine, query: q, max: 1}]")},
	{"a throttle has a query", throttles("queries: [{name: n, max: 1}]"), fill + ".throttles.queries[0].query: is missing: give a query that returns one number", throttles("queries: [{name: n, query: q, max: -1.5}]")},
	{"a throttle has a bound", throttles("queries: [{name: n, query: q}]"), fill + ".throttles.queries[0].max: is missing: give the highest number at which the lanes still work", throttles("queries: [{name: n, query: q, max: 0}]")},
	{"a throttle's bound is a number", throttles("queries: [{name: n, query: q, max: many}]"), fill + ".throttles.queries[0].max: must be a number, not a text", throttles("queries: [{name: n, query: q, max: 1e3}]")},

	{"a pace protects", backfill(set + "pace: {}"), fill + ".pace.protect: is missing: say which latency to keep under which bound, or remove pace", protect("max: 20ms, sql: {query: q}")},
	{"a latency has a bound", protect("sql: {query: q}"), fill + ".pace.protect.max: is missing: give the bound, such as 20ms", protect("max: 1ns, sql: {query: q}")},
	{"a bound is above zero", protect("max: 0s, sql: {query: q}"), fill + ".pace.protect.max: must be longer than zero", protect("max: 1h, sql: {query: q}")},
	{"a latency is read", protect("max: 1s"), fill + ".pace.protect: the latency is read from exactly one of sql, prometheus, http; here are 0", protect("max: 1s, sql: {query: q}")},
	{"a latency is read from one source", protect("max: 1s, sql: {query: q}, http: {url: 'http://h', field: a}"), fill + ".pace.protect: the latency is read from exactly one of sql, prometheus, http; here are 2", protect("max: 1s, http: {url: 'http://h', field: a}")},
	{"a latency has a unit", protect("max: 1s, sql: {query: q}, unit: min"), fill + `.pace.protect.unit: must be ms or s, not "min"`, protect("max: 1s, sql: {query: q}, unit: s")},
	{"a latency's name is not empty", protect("max: 1s, sql: {query: q}, name: ' '"), fill + ".pace.protect.name: is empty: name the latency as it shall be reported, or remove it", protect("max: 1s, sql: {query: q}, name: p99 of the shop")},
	{"a latency has a name of its own", backfill(set + "throttles: {queries: [{name: n, query: q, max: 1}]}, pace: {protect: {name: n, max: 1s, sql: {query: q}}}"), fill + `.pace.protect.name: reading "n" is there already: give each a name of its own`,
		backfill(set + "throttles: {queries: [{name: n, query: q, max: 1}]}, pace: {protect: {name: m, max: 1s, sql: {query: q}}}")},
	{"a latency is not called like a throttle", protect("max: 1s, sql: {query: q}, name: replica lag"), fill + `.pace.protect.name: reading "replica lag" is there already: give each a name of its own`, protect("max: 1s, sql: {query: q}, name: protected latency")},
	{"a latency by sql has a query", protect("max: 1s, sql: {query: ''}"), fill + ".pace.protect.sql.query: is missing: give a query that returns one number", protect("max: 1s, sql: {query: q}")},
	{"prometheus has a URL", protect("max: 1s, prometheus: {query: q}"), fill + ".pace.protect.prometheus.url: must be a URL such as http://127.0.0.1:9090", protect("max: 1s, prometheus: {url: 'https://p:9090/prefix', query: q}")},
	{"prometheus' URL holds no password", protect("max: 1s, prometheus: {url: 'http://u:secret@p', query: q}"), fill + ".pace.protect.prometheus.url: must not hold a user or password: plans are stored in Temporal and shown to people", protect("max: 1s, prometheus: {url: 'http://p', query: q}")},
	{"prometheus has a query", protect("max: 1s, prometheus: {url: 'http://p'}"), fill + ".pace.protect.prometheus.query: is missing: give a query that returns one number", protect("max: 1s, prometheus: {url: 'http://p', query: q}")},
	{"a document has a URL", protect("max: 1s, http: {url: h, field: a}"), fill + ".pace.protect.http.url: must be a URL such as http://127.0.0.1:8080/latency", protect("max: 1s, http: {url: 'http://h', field: a}")},
	{"a document's URL holds no user", protect("max: 1s, http: {url: 'http://u@h', field: a}"), fill + ".pace.protect.http.url: must not hold a user or password: plans are stored in Temporal and shown to people", protect("max: 1s, http: {url: 'http://h/u@', field: a}")},
	{"a document has a field", protect("max: 1s, http: {url: 'http://h'}"), fill + ".pace.protect.http.field: must be a key of the document such as p99_ms, or a path of keys such as latency.p99_ms", protect("max: 1s, http: {url: 'http://h', field: p99_ms}")},
	{"a field is a path", protect("max: 1s, http: {url: 'http://h', field: a..b}"), fill + ".pace.protect.http.field: must be a key of the document such as p99_ms, or a path of keys such as latency.p99_ms", protect("max: 1s, http: {url: 'http://h', field: a.b.c}")},

	{"manual work is verified", "migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: prove, verify: {query: q, max: 0}}", "{name: f, backfill: {table: t, manual: true, where: w}}", "{name: a, migrate: {to: 1, irreversible: true}}"),
		"steps[3].migrate.irreversible: an irreversible step must stand behind a verify step and an approve step: put a verify before it, behind the last backfill",
		"migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: f, backfill: {table: t, manual: true, where: w}}", "{name: prove, verify: {query: q, max: 0}}", "{name: a, migrate: {to: 1, irreversible: true}}")},
	{"a transform is verified", "migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: prove, verify: {query: q, max: 0}}", "{name: f, backfill: {table: t, transform: g}}", "{name: a, migrate: {to: 1, irreversible: true}}"),
		"steps[3].migrate.irreversible: an irreversible step must stand behind a verify step and an approve step: put a verify before it, behind the last backfill",
		"migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: f, backfill: {table: t, transform: g}}", "{name: prove, verify: {query: q, max: 0}}", "{name: a, migrate: {to: 1, irreversible: true}}")},
}

func TestEachRuleOfABackfillRefusesAndAccepts(t *testing.T) {
	t.Parallel()
	checkRules(t, backfillRules)
}

// A rule that the schema can say as well is said by it: an editor shows the mistake while it is made.
func TestTheSchemaRefusesWhatItCanOfABackfill(t *testing.T) {
	t.Parallel()
	conforms := conformity(t)
	// What one value says about another, and what is no matter of shape.
	beyond := []string{"same as from", "no time zone", "there already", "longer than zero", "password", "needs where", "call a transform", "behind the last backfill", "the sync trigger of step", notManual}
	for _, r := range backfillRules {
		if !slices.ContainsFunc(beyond, func(part string) bool { return strings.Contains(r.problem, part) }) {
			require.Error(t, conforms(asJSON(t, r.bad)), r.rule)
		}
	}
}

const everyKey = `name: p
database: d
steps:
  - name: fill
    backfill:
      table: shop.orders
      key: [shop, number]
      set: {total: net + tax, checked: true}
      where: total is null
      sync: trigger
      lanes: 4
      chunkTime: 100ms
      rowsPerSecond: 20000
      vacuum: interleaved
      maxRejects: 5
      windows:
        - {days: [fri, sun], from: "22:00", to: "06:30", zone: Europe/Berlin}
        - {from: 12:05, to: 13:00}
      throttles:
        replicaLag: 10s
        archiveBacklog: 0
        lockWaiters: 3
        activeSessions: 40
        queries:
          - {name: queue depth, query: select count(*) from jobs, max: 0}
          - {name: load, query: select load from machine, max: 1.5}
      pace:
        protect:
          name: p99 of the shop
          max: 20ms
          prometheus: {url: "http://prometheus:9090", query: p99}
          unit: s
  - name: compute
    backfill: {table: t, transform: sum, pace: {protect: {max: 1s, http: {url: "http://shop/latency", field: latency.p99_ms}}}}
  - name: compare
    backfill: {table: t, transform: sum, pace: {protect: {max: 1s, sql: {query: select 1}}}}
  - name: by-hand
    backfill: {table: t, manual: true, where: checked is null}
`

func TestABackfillIsReadAndWrittenWhole(t *testing.T) {
	t.Parallel()
	p, err := Decode("plan.yaml", []byte(everyKey))
	require.NoError(t, err)
	zero, three, forty := 0, 3, 40
	require.Equal(t, &Backfill{
		Table: "shop.orders", Key: []string{"shop", "number"}, Set: map[string]string{"total": "net + tax", "checked": "true"},
		Where: "total is null", Sync: SyncTrigger, Lanes: 4, ChunkTime: Duration(100 * time.Millisecond), RowsPerSecond: 20000,
		Vacuum: VacuumInterleaved, MaxRejects: 5,
		Windows: []Window{{Days: []string{"fri", "sun"}, From: "22:00", To: "06:30", Zone: "Europe/Berlin"}, {From: "12:05", To: "13:00"}},
		Throttles: &Throttles{ReplicaLag: Duration(10 * time.Second), ArchiveBacklog: &zero, LockWaiters: &three, ActiveSessions: &forty,
			Queries: []ThrottleQuery{{"queue depth", "select count(*) from jobs", 0}, {"load", "select load from machine", 1.5}}},
		Pace: &Pace{&Protect{Name: "p99 of the shop", Max: Duration(20 * time.Millisecond), Unit: UnitSeconds,
			Prometheus: &LatencyPrometheus{URL: "http://prometheus:9090", Query: "p99"}}},
	}, p.Steps[0].Backfill)
	require.Equal(t, &Backfill{Table: "t", Transform: "sum", Pace: &Pace{&Protect{Max: Duration(time.Second),
		HTTP: &LatencyHTTP{URL: "http://shop/latency", Field: "latency.p99_ms"}}}}, p.Steps[1].Backfill)
	require.Equal(t, &LatencySQL{Query: "select 1"}, p.Steps[2].Backfill.Pace.Protect.SQL)
	require.Equal(t, &Backfill{Table: "t", Manual: true, Where: "checked is null"}, p.Steps[3].Backfill)

	body, err := json.Marshal(p)
	require.NoError(t, err)
	require.NoError(t, conformity(t)(body))
	decoded, err := Decode("plan.json", body)
	require.NoError(t, err)
	require.Equal(t, p, decoded)
	var unmarshalled Plan // as Temporal hands it from a workflow to an activity
	require.NoError(t, json.Unmarshal(body, &unmarshalled))
	require.Equal(t, *p, unmarshalled)
}

// A plan that says nothing of the newer keys keeps the hash that its approvals carry.
func TestTheHashOfAnOlderPlanStays(t *testing.T) {
	t.Parallel()
	p, err := Decode("plan.yaml", []byte(backfill("table: t, set: {a: b}, where: w, lanes: 2, chunkTime: 1s, rowsPerSecond: 3")))
	require.NoError(t, err)
	body, err := json.Marshal(p.Steps[0].Backfill)
	require.NoError(t, err)
	require.Equal(t, `{"table":"t","set":{"a":"b"},"where":"w","lanes":2,"chunkTime":"1s","rowsPerSecond":3}`, string(body))
}

func TestAWindowIsParsed(t *testing.T) {
	t.Parallel()
	w := Window{Days: []string{"sun", "mon", "sat"}, From: "22:00", To: "06:30"}
	from, to, err := w.Clock()
	require.NoError(t, err)
	require.Equal(t, []time.Duration{22 * time.Hour, 6*time.Hour + 30*time.Minute}, []time.Duration{from, to})
	weekdays, err := w.Weekdays()
	require.NoError(t, err)
	require.Equal(t, []time.Weekday{time.Sunday, time.Monday, time.Saturday}, weekdays)

	weekdays, err = Window{}.Weekdays()
	require.NoError(t, err)
	require.Nil(t, weekdays, "every day")
	for i, day := range []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} {
		weekdays, err = Window{Days: []string{day}}.Weekdays()
		require.NoError(t, err)
		require.Equal(t, []time.Weekday{time.Weekday(i)}, weekdays)
		require.Equal(t, day, strings.ToLower(weekdays[0].String()[:3]))
	}

	_, _, err = Window{From: "late", To: "06:00"}.Clock()
	require.EqualError(t, err, `from: "late" is no time of day: write it as 06:30, from 00:00 to 23:59`)
	_, _, err = Window{From: "22:00", To: "25:00"}.Clock()
	require.EqualError(t, err, `to: "25:00" is no time of day: write it as 06:30, from 00:00 to 23:59`)
	_, err = Window{Days: []string{"mon", "someday"}}.Weekdays()
	require.EqualError(t, err, `"someday" is no day: write mon, tue, wed, thu, fri, sat or sun`)
}

func TestALatencyIsReadInItsUnit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		unit    string
		reading float64
		want    time.Duration
	}{
		{"", 1.5, 1500 * time.Microsecond}, {UnitMilliseconds, 20, 20 * time.Millisecond}, {UnitSeconds, 0.25, 250 * time.Millisecond},
		{"", 0, 0}, {"", math.Inf(1), math.MaxInt64}, {UnitSeconds, 1e300, math.MaxInt64},
	} {
		got, err := Protect{Unit: c.unit}.Latency(c.reading)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%v %s", c.reading, c.unit)
	}
	for _, reading := range []float64{math.NaN(), -1, math.Inf(-1)} {
		_, err := Protect{}.Latency(reading)
		require.ErrorContains(t, err, "which is no latency")
	}
}
