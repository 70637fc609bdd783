package plan

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const migrations = "migrations: m\n"
const flagScope = "flags: {project: p, environment: e}\n"

// steps is a plan of these steps, written in flow style.
func steps(lines ...string) string {
	return "name: p\ndatabase: d\nsteps:\n  - " + strings.Join(lines, "\n  - ") + "\n"
}

// checks is a plan with these health checks.
func checks(lines ...string) string {
	return steps("{name: wait, soak: 1s}") + "guard:\n  checks:\n    - " + strings.Join(lines, "\n    - ") + "\n"
}

func backfill(keys string) string { return steps("{name: fill, backfill: {" + keys + "}}") }
func approve(keys string) string  { return steps("{name: ask, approve: {" + keys + "}}") }
func verify(keys string) string   { return steps("{name: prove, verify: {" + keys + "}}") }
func flag(keys string) string     { return flagScope + steps("{name: turn, flag: {"+keys+"}}") }
func http(keys string) string     { return checks("{name: up, http: {" + keys + "}}") }

// rule refuses the first document, with exactly this one problem, and accepts the second.
type rule struct{ rule, bad, problem, good string }

var rules = []rule{
	{"a plan has a name", "database: d\nsteps: [{name: a, soak: 1s}]",
		"name: is missing: use lower-case letters, digits and hyphens, 63 at most", "name: a\ndatabase: d\nsteps: [{name: a, soak: 1s}]"},
	{"a name does not end in a hyphen", "name: a-\ndatabase: d\nsteps: [{name: a, soak: 1s}]",
		`name: "a-" is no good name: use lower-case letters, digits and hyphens, 63 at most`, "name: 0-z\ndatabase: d\nsteps: [{name: a, soak: 1s}]"},
	{"a name has 63 characters at most", steps("{name: " + strings.Repeat("a", 64) + ", soak: 1s}"),
		`steps[0].name: "` + strings.Repeat("a", 64) + `" is no good name: use lower-case letters, digits and hyphens, 63 at most`,
		steps("{name: " + strings.Repeat("a", 63) + ", soak: 1s}")},
	{"a name is a text", "name: 7\ndatabase: d\nsteps: [{name: a, soak: 1s}]",
		"name: must be a text, not a number (put it in quotes)", "name: '7'\ndatabase: d\nsteps: [{name: a, soak: 1s}]"},
	{"a plan names its database", "name: p\nsteps: [{name: a, soak: 1s}]",
		"database: is missing: name the database as the worker's configuration calls it", steps("{name: a, soak: 1s}")},
	{"the database is no connection string", "name: p\ndatabase: host=h password=x\nsteps: [{name: a, soak: 1s}]",
		"database: must be a name in the worker's configuration, never a connection string", "name: p\ndatabase: shop host\nsteps: [{name: a, soak: 1s}]"},
	{"migrations lie beside the plan", "migrations: a/../../b\n" + steps("{name: a, soak: 1s}"),
		"migrations: must be a folder beside the plan, without .. and not absolute", "migrations: a/../b\n" + steps("{name: a, soak: 1s}")},
	{"migrations are not absolute", "migrations: /etc\n" + steps("{name: a, soak: 1s}"),
		"migrations: must be a folder beside the plan, without .. and not absolute", "migrations: ..etc\n" + steps("{name: a, soak: 1s}")},
	{"flags have a project", "flags: {environment: e}\n" + steps("{name: a, soak: 1s}"),
		"flags.project: is missing: name the flag service's project", flagScope + steps("{name: a, soak: 1s}")},
	{"flags have an environment", "flags: {project: e, environment: ' '}\n" + steps("{name: a, soak: 1s}"),
		"flags.environment: is missing: name the flag service's environment", flagScope + steps("{name: a, soak: 1s}")},
	{"a plan has steps", "name: p\ndatabase: d\nsteps: []", "steps: a plan needs at least one step", steps("{name: a, soak: 1s}")},

	{"a step has a name", steps("{soak: 1s}"), "steps[0].name: is missing: use lower-case letters, digits and hyphens, 63 at most", steps("{name: a, soak: 1s}")},
	{"steps have names of their own", steps("{name: a, soak: 1s}", "{name: a, soak: 1s}"),
		`steps[1].name: step "a" is there already as steps[0]: give each step a name of its own`, steps("{name: a, soak: 1s}", "{name: b, soak: 1s}")},
	{"a step has a verb", steps("{name: a, timeout: 1s}"),
		"steps[0]: a step has exactly one verb of migrate, flag, backfill, verify, approve, soak, retire; this one has 0", steps("{name: a, timeout: 1s, soak: 1s}")},
	{"a step has one verb", steps("{name: a, soak: 1s, approve: {by: [x]}}"),
		"steps[0]: a step has exactly one verb of migrate, flag, backfill, verify, approve, soak, retire; this one has 2", approve("by: [x]")},
	{"a soak takes time", steps("{name: a, soak: 0s}"), "steps[0].soak: must be longer than zero", steps("{name: a, soak: 1ns}")},
	{"a duration has a unit", steps("{name: a, soak: soon}"), `steps[0].soak: "soon" is no duration: write it as 30s, 5m or 24h`, steps("{name: a, soak: 1h30m}")},
	{"a duration is not negative", steps("{name: a, soak: 1s, timeout: -0s}"), `steps[0].timeout: "-0s" is no duration: write it as 30s, 5m or 24h`, steps("{name: a, soak: 1s, timeout: 0s}")},

	{"migrate has a version", "migrations: m\n" + steps("{name: a, migrate: {irreversible: false}}"),
		"steps[0].migrate.to: name the schema version to go to, 1 or more", "migrations: m\n" + steps("{name: a, migrate: {to: 1, irreversible: false}}")},
	{"versions rise", "migrations: m\n" + steps("{name: a, migrate: {to: 2}}", "{name: b, migrate: {to: 2}}"),
		"steps[1].migrate.to: version 2 is reached by an earlier step: versions only rise", "migrations: m\n" + steps("{name: a, migrate: {to: 2}}", "{name: b, migrate: {to: 4}}")},
	{"migrate needs migrations", steps("{name: a, migrate: {to: 1}}"),
		"steps[0].migrate: the plan has no migrations folder: add `migrations: FOLDER` at the top", "migrations: .\n" + steps("{name: a, migrate: {to: 1}}")},
	{"irreversible is verified", "migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: a, migrate: {to: 1, irreversible: true}}"),
		"steps[1].migrate.irreversible: an irreversible step must stand behind a verify step and an approve step: put a verify before it, behind the last backfill",
		"migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: prove, verify: {query: q, max: 0}}", "{name: a, migrate: {to: 1, irreversible: true}}")},
	{"irreversible is verified behind the backfill", "migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: prove, verify: {query: q, max: 0}}", "{name: f, backfill: {table: t, set: {a: b}}}", "{name: a, migrate: {to: 1, irreversible: true}}"),
		"steps[3].migrate.irreversible: an irreversible step must stand behind a verify step and an approve step: put a verify before it, behind the last backfill",
		"migrations: m\n" + steps("{name: ask, approve: {by: [x]}}", "{name: f, backfill: {table: t, set: {a: b}}}", "{name: prove, verify: {query: q, max: 0}}", "{name: a, migrate: {to: 1, irreversible: true}}")},
	{"a drain is a duration", "flags: {project: p, environment: e, drain: soon}\n" + steps("{name: a, soak: 1s}"),
		`flags.drain: "soon" is no duration: write it as 30s, 5m or 24h`, "flags: {project: p, environment: e, drain: 0s}\n" + steps("{name: a, soak: 1s}")},
	{"irreversible is approved before it", "migrations: m\n" + steps("{name: prove, verify: {query: q, max: 0}}", "{name: a, migrate: {to: 1, irreversible: true}}", "{name: ask, approve: {by: [x]}}"),
		"steps[1].migrate.irreversible: an irreversible step must stand behind a verify step and an approve step: put an approve before it",
		"migrations: m\n" + steps("{name: prove, verify: {query: q, max: 0}}", "{name: a, migrate: {to: 1}}", "{name: ask, approve: {by: [x]}}")},

	{"a backfill has a table", backfill("set: {a: b}"), "steps[0].backfill.table: is missing: name the table", backfill("table: t, set: {a: b}")},
	{"a backfill sets columns", backfill("table: t, set: {}"),
		"steps[0].backfill.set: is missing: give at least one column and the SQL expression of its new value", backfill("table: t, set: {a: 1, b: true, c: 1.5}")},
	{"an assignment has a column", backfill("table: t, set: {'': b}"), `steps[0].backfill.set."": the column has no name`, backfill("table: t, set: {'1': b}")},
	{"an assignment has an expression", backfill("table: t, set: {a: ''}"), "steps[0].backfill.set.a: is missing: give the SQL expression of the new value", backfill("table: t, set: {a: \"''\"}")},
	{"an expression is no mapping", backfill("table: t, set: {a: {b: c}}"), "steps[0].backfill.set.a: must be a text, not a mapping", backfill("table: t, set: {a: b}")},
	{"key columns have names", backfill("table: t, set: {a: b}, key: [a, ' ']"), "steps[0].backfill.key[1]: is empty: name a column", backfill("table: t, set: {a: b}, key: []")},
	{"key columns are distinct", backfill("table: t, set: {a: b}, key: [a, b, a]"), `steps[0].backfill.key[2]: column "a" is listed twice`, backfill("table: t, set: {a: b}, key: [a, b]")},
	{"lanes are decimal", backfill("table: t, set: {a: b}, lanes: 0x2"), "steps[0].backfill.lanes: must be a whole number from 0 to 2147483647 in decimal digits", backfill("table: t, set: {a: b}, lanes: 2")},
	{"lanes are not negative", backfill("table: t, set: {a: b}, lanes: -2"), "steps[0].backfill.lanes: must be a whole number from 0 to 2147483647 in decimal digits", backfill("table: t, set: {a: b}, lanes: 0")},
	{"a rate is not octal", backfill("table: t, set: {a: b}, rowsPerSecond: 017"), "steps[0].backfill.rowsPerSecond: must be a whole number from 0 to 2147483647 in decimal digits", backfill("table: t, set: {a: b}, rowsPerSecond: 2147483647")},

	{"a verify has a query", verify("max: 0"), "steps[0].verify.query: is missing: give a query that returns one number", verify("query: q, max: 0")},
	{"a verify has a bound", verify("query: q"), "steps[0].verify: says nothing of the number: give max, min or both", verify("query: q, min: -1.5e3")},
	{"bounds leave room", verify("query: q, min: 2, max: 1"), "steps[0].verify.min: is above max: no number fits", verify("query: q, min: 2, max: 2")},
	{"a bound is finite", verify("query: q, max: .inf"), "steps[0].verify.max: must be a finite number in decimal digits", verify("query: q, max: 1e308")},
	{"a bound is no text", verify("query: q, max: none"), "steps[0].verify.max: must be a number, not a text", verify("query: q, max: 1_000")},

	{"an approval asks somebody", approve("quorum: 1"), "steps[0].approve.by: is empty: list who may decide", approve("by: [x], quorum: 1")},
	{"who decides has a name", approve("by: ['']"), "steps[0].approve.by[0]: is empty: name a person", approve("by: [a]")},
	{"who decides is listed once", approve("by: [a, a]"), `steps[0].approve.by[1]: person "a" is listed twice`, approve("by: [a, b]")},
	{"a quorum can be reached", approve("by: [a], quorum: 2"), "steps[0].approve.quorum: 2 people must approve but only 1 are listed in by", approve("by: [a, b], quorum: 2")},
	{"a quorum is somebody", approve("by: [a], quorum: 0"), "steps[0].approve.quorum: must be 1 or more", approve("by: [a], quorum: 1")},

	{"a guard has checks", "guard: {interval: 1s}\n" + steps("{name: a, soak: 1s}"), "guard.checks: a guard needs at least one check: list one, or remove the guard", checks("{name: c, sql: {query: q, max: 0}}")},
	{"a check has a name", checks("{sql: {query: q, max: 0}}"), "guard.checks[0].name: is missing: name the check as it shall be reported", checks("{name: new rows are whole, sql: {query: q, max: 0}}")},
	{"checks have names of their own", checks("{name: c, sql: {query: q, max: 0}}", "{name: c, sql: {query: q, max: 0}}"),
		`guard.checks[1].name: check "c" is there already: give each check a name of its own`, checks("{name: c, sql: {query: q, max: 0}}", "{name: d, sql: {query: q, max: 0}}")},
	{"a check begins with a step", checks("{name: c, from: never, sql: {query: q, max: 0}}"), `guard.checks[0].from: there is no step "never"`, checks("{name: c, from: wait, sql: {query: q, max: 0}}")},
	{"a check has a probe", checks("{name: c}"), "guard.checks[0]: a check has exactly one probe: sql or http", checks("{name: c, sql: {query: q, max: 0}}")},
	{"a check has one probe", checks("{name: c, sql: {query: q, max: 0}, http: {url: 'http://h'}}"), "guard.checks[0]: a check has exactly one probe: sql or http", http("url: 'http://h'")},
	{"an sql probe has a query", checks("{name: c, sql: {max: 0}}"), "guard.checks[0].sql.query: is missing: give a query that returns one number", checks("{name: c, sql: {query: q, max: 0}}")},
	{"an sql probe has a bound", checks("{name: c, sql: {query: q}}"), "guard.checks[0].sql: says nothing of the number: give max, min or both", checks("{name: c, sql: {query: q, min: 0}}")},
	{"dryRun is true or false", checks("{name: c, dryRun: 'yes', sql: {query: q, max: 0}}"), "guard.checks[0].dryRun: must be true or false, not a text", checks("{name: c, dryRun: true, sql: {query: q, max: 0}}")},
	{"lanes are few", backfill("table: t, set: {a: b}, lanes: 65"), "steps[0].backfill.lanes: must be 64 at most", backfill("table: t, set: {a: b}, lanes: 64")},
	{"an error limit tolerates one", checks("{name: c, consecutiveErrorLimit: 0, sql: {query: q, max: 0}}"), "guard.checks[0].consecutiveErrorLimit: must be 1 or more: a single reading that can't be taken is weather", checks("{name: c, consecutiveErrorLimit: 1, sql: {query: q, max: 0}}")},
	{"a limit counts", checks("{name: c, failureLimit: many, sql: {query: q, max: 0}}"), "guard.checks[0].failureLimit: must be a whole number, not a text", checks("{name: c, failureLimit: 0, consecutiveErrorLimit: 3, sql: {query: q, max: 0}}")},
	{"a URL has a host", http("url: 'http:///healthz'"), "guard.checks[0].http.url: must be a URL such as http://127.0.0.1:8080/healthz", http("url: 'http://h/healthz'")},
	{"a URL is http", http("url: 'ftp://h'"), "guard.checks[0].http.url: must be a URL such as http://127.0.0.1:8080/healthz", http("url: 'HTTPS://h'")},
	{"a URL holds no password", http("url: 'http://u:secret@h'"), "guard.checks[0].http.url: must not hold a user or password: plans are stored in Temporal and shown to people", http("url: 'http://h?u=v'")},
	{"a status is 200 or more", http("url: 'http://h', status: 199"), "guard.checks[0].http.status: must be an HTTP status from 200 to 599", http("url: 'http://h', status: 200")},
	{"a status is 599 at most", http("url: 'http://h', status: 600"), "guard.checks[0].http.status: must be an HTTP status from 200 to 599", http("url: 'http://h', status: 599")},

	{"a key is given once", steps("{name: a, soak: 1s, soak: 2s}"), "steps[0].soak: is given twice: keep one", steps("{name: a, soak: 1s}")},
	{"a key has a value", steps("{name: a, soak: 1s}") + "owner:\n", "owner: has no value: give one or remove the key", steps("{name: a, soak: 1s}") + "owner: ''\n"},
	{"a key is known", steps("{name: a, soak: 1s, Timeot: 1s}"), "steps[0].Timeot: unknown key, did you mean timeout?; known here: approve, backfill, flag, migrate, name, retire, soak, timeout, verify", steps("{name: a, soak: 1s, timeout: 1s}")},
	{"a key is a word", steps("{name: a, soak: 1s, [k]: v}"), "steps[0].<key>: keys are plain words; anchors, merges and nested keys are not understood", steps("{name: a, 'soak': 1s}")},
	{"merges are refused", steps("{name: a, soak: 1s, <<: {timeout: 1s}}"), "steps[0].<key>: keys are plain words; anchors, merges and nested keys are not understood", steps("{name: a, soak: 1s}")},
	{"anchors are refused", steps("{name: a, soak: &x 1s}"), "steps[0].soak: must be a duration such as 30s, 5m or 24h, not this (anchors, aliases, merges and tags of your own are not understood)", steps("{name: a, soak: 1s}")},
	{"aliases are refused", "description: *x\nowner: o\n" + steps("{name: a, soak: 1s}"), "not YAML or JSON: unknown anchor 'x' referenced", "description: '*x'\n" + steps("{name: a, soak: 1s}")},
	{"tags are refused", steps("{name: a, soak: !mine 1s}"), "steps[0].soak: must be a duration such as 30s, 5m or 24h, not this (anchors, aliases, merges and tags of your own are not understood)", steps("{name: a, soak: !!str 1s}")},

	{"a lock timeout is counted in milliseconds", migrations + steps("{name: a, migrate: {to: 1, lockTimeout: 1us}}"),
		"steps[0].migrate.lockTimeout: must be from 1ms to 1m0s: so long the application may queue behind the change at a time",
		migrations + steps("{name: a, migrate: {to: 1, lockTimeout: 1ms}}")},
	{"nobody queues behind a change for long", migrations + steps("{name: a, migrate: {to: 1, lockTimeout: 61s}}"),
		"steps[0].migrate.lockTimeout: must be from 1ms to 1m0s: so long the application may queue behind the change at a time",
		migrations + steps("{name: a, migrate: {to: 1, lockTimeout: 1m}}")},
	{"only idle sessions are ended", migrations + steps("{name: a, migrate: {to: 1, killBlockers: active > 5m}}"),
		`steps[0].migrate.killBlockers: must be of the form "idle in transaction > 5m"; other sessions are never ended`,
		migrations + steps("{name: a, migrate: {to: 1, killBlockers: idle in transaction > 5m}}")},
	{"sessions are ended after a while", migrations + steps("{name: a, migrate: {to: 1, killBlockers: idle in transaction > 5}}"),
		"steps[0].migrate.killBlockers: must end in a duration of 1s or more, such as 5m",
		migrations + steps("{name: a, migrate: {to: 1, killBlockers: idle in transaction > 1s}}")},
	{"whose sessions are ended is said", migrations + steps("{name: a, migrate: {to: 1, killBlockers: ''}}"),
		`steps[0].migrate.killBlockers: is empty: remove it, or say whose sessions may be ended, such as "idle in transaction > 5m"`,
		migrations + steps("{name: a, migrate: {to: 1}}")},
}

func TestEachRuleRefusesAndAccepts(t *testing.T) {
	t.Parallel()
	checkRules(t, rules)
}

func checkRules(t *testing.T, rules []rule) {
	t.Helper()
	conforms := conformity(t)
	for _, r := range rules {
		_, err := Decode("p", []byte(r.bad))
		problems, ok := err.(Problems)
		require.True(t, ok, "%s: %v\n%s", r.rule, err, r.bad)
		require.Len(t, problems, 1, "%s: %v", r.rule, err)
		_, said, _ := strings.Cut(problems[0].Error(), ": ")
		require.Equal(t, r.problem, said, r.rule)

		_, err = Decode("p", []byte(r.good))
		require.NoError(t, err, "%s\n%s", r.rule, r.good)
		require.NoError(t, conforms(asJSON(t, r.good)), r.rule)
	}
}
