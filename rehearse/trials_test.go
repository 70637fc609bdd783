package rehearse

import (
	"maps"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/plan"
)

// onScratch is a rehearsal whose scratch database has this schema, and whose target has that one.
func onScratch(t *testing.T, document, here, there string) *run {
	t.Helper()
	p, err := plan.Decode("plan.yaml", []byte("name: p\ndatabase: shop\nmigrations: m\n"+document))
	require.NoError(t, err)
	dbHere, dbThere := pgtest.New(t), pgtest.New(t)
	dbHere.Exec(t, here)
	dbThere.Exec(t, there)
	conn, err := pgx.Connect(t.Context(), dbHere.SuperDSN)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	quiet := conn.Config()
	maps.Copy(quiet.RuntimeParams, silence)
	return &run{Options: Options{Plan: p}, report: &Report{}, conn: conn, target: dbThere.Connect(t), scratch: &scratch{keeper: conn.Config(), sampler: quiet}}
}

const customers = "create table customers (id bigint primary key, address text, street text, at timestamptz);"

func TestTheBackfillsOwnEngineJudgesItsSQL(t *testing.T) {
	t.Parallel()
	r := onScratch(t, `
steps:
  - name: fine
    backfill:
      table: customers
      set: {street: address}
      where: street is null
      sync: trigger
      throttles: {queries: [{name: good, query: select 1, max: 1}, {name: bad, query: select nope from customers, max: 1}]}
      pace: {protect: {name: latency, max: 1s, sql: {query: "select now()"}}}
  - name: no-column
    backfill: {table: customers, set: {strete: address}, where: street is null}
  - name: no-function
    backfill: {table: customers, set: {street: upperr(address)}, where: street is null}
  - name: no-type
    backfill: {table: customers, set: {at: address}, where: street is null}
  - name: no-trigger
    backfill: {table: customers, set: {at: now()}, where: at is null, sync: trigger}
  - name: people
    backfill: {table: customers, manual: true, where: nobody is null}
  - name: go
    backfill: {table: customers, transform: shout, where: street is null}
`, customers, "")
	r.at = 2
	for i, step := range r.Plan.Steps {
		r.step = i
		require.NoError(t, r.try(t.Context(), step), step.Name)
	}
	require.Equal(t, []Trial{
		{Step: "fine", Kind: KindBackfill},
		{Step: "fine", Kind: KindSync},
		{Step: "fine", Kind: KindThrottle, Name: "good"},
		{Step: "fine", Kind: KindThrottle, Name: "bad", Problem: `column "nope" does not exist`},
		{Step: "fine", Kind: KindProtect, Name: "latency", Problem: "the query's column is not numeric: it must return one number"},
		{Step: "no-column", Kind: KindBackfill},
		{Step: "no-function", Kind: KindBackfill, Problem: "function upperr(text) does not exist (No function matches the given name and argument types. You might need to add explicit type casts.)"},
		{Step: "no-type", Kind: KindBackfill, Problem: `column "at" is of type timestamp with time zone but expression is of type text (You will need to rewrite or cast the expression.)`},
		{Step: "no-trigger", Kind: KindBackfill},
		{Step: "no-trigger", Kind: KindSync},
		{Step: "people", Kind: KindBackfill, Problem: `column "nobody" does not exist`},
	}, without(r.report.Trials, "no-column", "no-trigger"))
	for _, trial := range r.report.Trials {
		require.Equal(t, []uint{2}, trial.At)
	}
	require.Contains(t, r.report.Trials[5].Problem, `no column "strete"`)
	require.Contains(t, r.report.Trials[9].Problem, "sync by trigger is refused")
	require.Equal(t, []string{`step go: its transform "shout" is Go code of the worker, which a rehearsal does not have`}, r.report.Notes)
}

// without the versions, and the words of the engine, whose tests are its own.
func without(all []Trial, wordy ...string) []Trial {
	plain := make([]Trial, len(all))
	for i, trial := range all {
		trial.At = nil
		for _, step := range wordy {
			if trial.Step == step {
				trial.Problem = ""
			}
		}
		plain[i] = trial
	}
	return plain
}

func TestAProofReturnsOneNumber(t *testing.T) {
	t.Parallel()
	r := onScratch(t, `
steps:
  - {name: good, verify: {query: select count(*) from customers where street is null, max: 0}}
  - {name: two, verify: {query: "select 1, 2", max: 0}}
  - {name: text, verify: {query: "select street from customers", max: 0}}
  - {name: parameter, verify: {query: "select count(*) from customers where id = $1", max: 0}}
  - {name: gone, verify: {query: "select count(*) from nobody", max: 0}}
  - {name: twice, verify: {query: "select 1; drop table customers", max: 0}}
`, customers, "")
	for _, step := range r.Plan.Steps {
		require.NoError(t, r.try(t.Context(), step), step.Name)
	}
	problems := map[string]string{}
	for _, trial := range r.report.Trials {
		problems[trial.Step] = trial.Problem
	}
	require.Equal(t, map[string]string{
		"good":      "",
		"two":       "the query returns 2 columns: it must return one number",
		"text":      "the query's column is not numeric: it must return one number",
		"parameter": "the query holds a parameter ($1), for which nothing is given: write the value itself",
		"gone":      `relation "nobody" does not exist`,
		"twice":     "cannot insert multiple commands into a prepared statement",
	}, problems)
}

func TestAChecksQueryIsTriedAtEveryVersionFromItsStepOn(t *testing.T) {
	t.Parallel()
	r := onScratch(t, `
guard:
  checks:
    - name: street
      sql: {query: "select count(*) from customers where street is null", max: 0}
      from: fill
    - name: address
      sql: {query: "select count(*) from customers where address is null", max: 0}
    - name: page
      http: {url: "http://127.0.0.1:1/"}
steps:
  - {name: expand, migrate: {to: 2}}
  - {name: fill, backfill: {table: customers, set: {street: address}, where: street is null}}
  - {name: prove, verify: {query: select 0, max: 0}}
  - {name: go, approve: {by: [alice]}}
  - {name: contract, migrate: {to: 3, irreversible: true}}
`, customers, "")
	for i, step := range r.Plan.Steps {
		r.step, r.at = i, 2
		if step.Name == "contract" {
			_, err := r.conn.Exec(t.Context(), "alter table customers drop address")
			require.NoError(t, err)
			r.at = 3
		}
		require.NoError(t, r.tryChecks(t.Context()))
	}
	require.Equal(t, []Trial{
		{Kind: KindCheck, Name: "address", At: []uint{2}},
		{Kind: KindCheck, Name: "street", At: []uint{2, 3}},
		{Kind: KindCheck, Name: "address", At: []uint{3}, Problem: `column "address" does not exist`},
	}, r.report.Trials)
}
