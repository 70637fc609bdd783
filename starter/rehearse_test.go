package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/rehearse"
	"github.com/contraflow/contraflow/signals"
)

func reported() *rehearse.Report {
	customers := rehearse.Size{Name: "customers", Rows: 12_400_000, Bytes: 3_328_599_654}
	lock := []rehearse.Lock{{Relation: "customers", Mode: "ACCESS EXCLUSIVE", Size: customers}}
	return &rehearse.Report{Plan: "fill-zip", PlanHash: strings.Repeat("ab", 32), Database: "shop", Server: "15.14", Cluster: "7301", DatabaseOID: 16384, From: 1, By: "dora", At: time.Date(2026, 3, 2, 9, 0, 0, 0, time.Local),
		Statements: []rehearse.Statement{
			{Step: "expand", File: "2_zip.up.sql", Line: 1, Summary: "alter table customers add column zip integer not null default …", Verdict: rehearse.Instant, Locks: lock},
			{Step: "expand", File: "2_zip.up.sql", Line: 12, Summary: "vacuum\x1b[2J customers", Verdict: rehearse.Background},
			{Step: "contract", File: "10_retype.up.sql", Line: 3, Summary: "alter table customers alter id", Verdict: rehearse.BlocksAll, Locks: lock, Rewrites: []rehearse.Size{customers}},
		},
		Down:   &rehearse.Down{Versions: []uint{2}, Differences: []string{"@@", " create table a (", "-x int", "+x text"}},
		Trials: []rehearse.Trial{{Step: "fill", Kind: rehearse.KindBackfill, At: []uint{2}}, {Kind: rehearse.KindCheck, Name: "old", At: []uint{2, 10}, Problem: "column \"x\" does not exist"}},
		Samples: []rehearse.Sample{{Step: "fill", Table: "customers", Rows: 10, Filled: 8, Refused: 2,
			Failures: []rehearse.Failure{{Key: []string{"7"}, Code: "22P02", Message: "no number"}, {Key: []string{"a b", "\x1b[2J"}, Code: "23514", Message: "check"}}}},
		Notes: []string{"step go: Go code"},
	}
}

func TestARehearsalLinesUp(t *testing.T) {
	t.Parallel()
	require.Equal(t, `fill-zip  hash abababababab · database shop, Postgres 15.14, from version 1 · 2026-03-02 09:00:00

FILE:LINE           STATEMENT                                     VERDICT                          DETAIL
2_zip.up.sql:1      alter table customers add column zip intege…  instant                          ACCESS EXCLUSIVE on customers, 12.4 M rows
2_zip.up.sql:12     vacuum [2J customers                          works beside traffic
10_retype.up.sql:3  alter table customers alter id                blocks everything for a rewrite  ACCESS EXCLUSIVE on customers, 12.4 M rows, rewrites 3.1 GB

Way back
  ✗ version 2 down: the schema is not what it was before (-) but (+):
      @@
       create table a (
      -x int
      +x text

The plan's own SQL
  ✓ step fill, backfill  at version 2       would run
  ✗ check old            at versions 2, 10  column "x" does not exist

Sample of step fill
  ✗ 10 rows of customers: 8 filled, 2 refused
    KEY               CODE   WHY
    7                 22P02  no number
    "a b", "\x1b[2J"  23514  check

Not rehearsed
  step go: Go code

This would fail: 3 problems. The worst verdict: blocks everything for a rewrite.
Kept in plan.rehearsal.json.
`, renderRehearsal(reported(), watch.Style{}, "plan.rehearsal.json"))

	good := &rehearse.Report{Plan: "p", Statements: reported().Statements[:1], Down: &rehearse.Down{Versions: []uint{2}, Identical: true}}
	require.Contains(t, renderRehearsal(good, watch.Style{}, nowhere), "All of it would run, and every statement is instant.\n")
	good.Statements = nil
	require.Contains(t, renderRehearsal(good, watch.Style{}, nowhere), "No SQL file would be applied.\n")
}

func TestARehearsalFitsTheTerminal(t *testing.T) {
	t.Parallel()
	r := reported()
	r.Notes, r.Trials, r.Down = nil, nil, nil
	for _, width := range []int{100, 140, 155, 200} {
		text := renderRehearsal(r, watch.Style{Width: width}, nowhere)
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, cellsOf(strings.TrimRight(line, "\n")), width, line)
		}
		require.Contains(t, strings.Join(strings.Fields(text), " "), "rewrites 3.1 GB", width)
	}
	coloured := renderRehearsal(r, watch.Style{Color: true}, nowhere)
	require.Contains(t, coloured, redText+"blocks everything for a rewrite"+endColour)
	require.NotContains(t, coloured, "\x1b[2J")
}

func TestWhatTravelsWithAStartIsSmallAndHoldsNoKey(t *testing.T) {
	t.Parallel()
	r := reported()
	r.At = r.At.UTC()
	long := strings.Repeat("語", 5_000)
	for range 500 {
		r.Statements = append(r.Statements, rehearse.Statement{Step: "s", File: long, Summary: long, Verdict: rehearse.Instant, Locks: []rehearse.Lock{{Relation: long, Mode: "SHARE"}}})
		r.Trials = append(r.Trials, rehearse.Trial{Kind: rehearse.KindCheck, Name: long, Problem: long})
	}
	short := shortened(r)
	raw, err := json.Marshal(signals.Input{Name: "p", Rehearsal: &short})
	require.NoError(t, err)
	require.NoError(t, short.Check())
	require.LessOrEqual(t, len(raw), signals.MaxRehearsal+100)
	require.NotContains(t, string(raw), "a b")
	require.Equal(t, 503, short.Count)
	require.Len(t, short.Statements, signals.MaxRehearsedStatements)
	require.Equal(t, "blocks everything for a rewrite", short.Worst)
	require.Equal(t, short.Worst, short.Statements[2].Verdict, "in their order, the worst of them among the rest")
	require.Equal(t, "works beside traffic", short.Statements[1].Verdict)
	require.Equal(t, "and 483 more", short.Problems[signals.MaxRehearsedProblems-1])
	require.False(t, short.Reversible)

	back, err := signals.ParseInput(raw)
	require.NoError(t, err)
	require.Equal(t, short, *back.Rehearsal)

	for i := range r.Statements { // six bytes each, as JSON has them
		r.Statements[i].File = strings.Repeat("<", 5_000)
	}
	fewer := shortened(r)
	require.NoError(t, fewer.Check())
	require.Less(t, len(fewer.Statements), signals.MaxRehearsedStatements)
	require.Equal(t, "blocks everything for a rewrite", fewer.Statements[2].Verdict)

	r.Trials = r.Trials[:signals.MaxRehearsedProblems-1] // one is good, and the way down and the sample are bad
	require.Len(t, r.Problems(), signals.MaxRehearsedProblems)
	require.Contains(t, shortened(r).Problems[signals.MaxRehearsedProblems-1], "rows are refused", "all of them fit")
}

func TestOnlyARehearsalOfThisPlanIsAttached(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(folder, "migrations"), os.DirFS("../examples/shop/migrations")))
	document, err := os.ReadFile("../examples/shop/plan.yaml")
	require.NoError(t, err)
	file := filepath.Join(folder, "plan.yaml")
	require.NoError(t, os.WriteFile(file, document, 0o600))
	checked, err := validate(file)
	require.NoError(t, err)
	beside := filepath.Join(folder, "plan.rehearsal.json")
	require.Equal(t, beside, besides(file))

	attached := func(arg string, f startFlags) (*signals.Rehearsal, string, error) {
		var said strings.Builder
		var in signals.Input
		err := (&app{stderr: &said}).attach(arg, f, &in)
		return in.Rehearsal, said.String(), err
	}
	none := func(f startFlags, notes ...string) {
		t.Helper()
		r, said, err := attached(file, f)
		require.NoError(t, err)
		require.Nil(t, r)
		for _, note := range notes {
			require.Contains(t, said, note)
		}
		require.Equal(t, len(notes) == 0, said == "")
	}
	none(startFlags{}) // there is no file
	_, _, err = attached(file, startFlags{rehearsal: beside})
	require.ErrorContains(t, err, "can't be read")

	r := reported()
	write := func() { require.NoError(t, writeReport(beside, r)) }
	write()
	none(startFlags{}, "is of plan hash abababababab, and the plan and its SQL files have "+checked.Hash[:12], "contraflow rehearse "+file)
	_, _, err = attached(file, startFlags{rehearsal: beside})
	require.ErrorContains(t, err, "is of plan hash abababababab")
	require.ErrorAs(t, err, new(*usageError))
	byName, _, err := attached("split-customer-address", startFlags{rehearsal: beside})
	require.NoError(t, err, "the worker has the plan, and judges")
	require.Equal(t, r.PlanHash, byName.PlanHash)

	r.PlanHash = checked.Hash
	write()
	for _, f := range []startFlags{{}, {rehearsal: beside}} {
		short, said, err := attached(file, f)
		require.NoError(t, err)
		require.Empty(t, said)
		require.Equal(t, checked.Hash, short.PlanHash)
		require.Equal(t, "7301 16384 1 dora", fmt.Sprint(short.Cluster, " ", short.DatabaseOID, " ", short.From, " ", short.By))
	}
	none(startFlags{noRehearsal: true})
	_, _, err = attached(file, startFlags{noRehearsal: true, rehearsal: beside})
	require.ErrorContains(t, err, "give one of them")

	r.Cluster = "7301\n"
	write()
	none(startFlags{}, "holds a control character")
	_, _, err = attached("split-customer-address", startFlags{rehearsal: beside})
	require.ErrorContains(t, err, "holds a control character")

	r.Database = "staging"
	write()
	none(startFlags{}, "is of database staging, and the plan changes shop")
	require.NoError(t, os.WriteFile(beside, []byte("{}"), 0o600))
	none(startFlags{}, "is none")
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	require.Len(t, entries, 3, "nothing is left of writing")
}
