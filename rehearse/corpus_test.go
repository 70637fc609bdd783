package rehearse

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/lint"
	"github.com/contraflow/contraflow/plan"
)

// corpus is where SQL files stand that say in their comments what a linter must find in them.
const corpus = "../tests/corpus"

// runsFrom bounds the versions of Postgres on which a file can run.
var runsFrom = regexp.MustCompile(`(?m)^-- runs: from (\d+), because `)

// corpusPlan applies one file of the corpus.
const corpusPlan = `name: corpus
database: shop
migrations: sql
steps:
  - name: change
    migrate: {to: 2}
`

// The linter only reads, the rehearsal sees what Postgres does: where a statement really scans or rewrites a table under a lock
// that stops reads or writes, the linter must have called it an error.
func TestTheLinterCallsNothingSafeThatARehearsalShowsBlocking(t *testing.T) {
	t.Parallel()
	base, err := os.ReadFile(filepath.Join(corpus, "base.sql"))
	require.NoError(t, err)
	names, err := filepath.Glob(filepath.Join(corpus, "[0-9]*.sql"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	p, err := plan.Decode("plan.yaml", []byte(corpusPlan))
	require.NoError(t, err)
	var major int
	require.NoError(t, pgtest.New(t).Connect(t).QueryRow(t.Context(), "select current_setting('server_version_num')::int / 10000").Scan(&major))
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		if strings.Contains(string(text), "\n-- runs: no") {
			continue // it says why
		}
		if m := runsFrom.FindSubmatch(text); m != nil {
			from, err := strconv.Atoi(string(m[1]))
			require.NoError(t, err)
			if major < from {
				continue
			}
		}
		t.Run(strings.TrimSuffix(filepath.Base(name), ".sql"), func(t *testing.T) {
			t.Parallel()
			up := "2_" + strings.TrimSuffix(filepath.Base(name), ".sql") + ".up.sql"
			folder := files(t, map[string]string{"1_base.up.sql": string(base), up: string(text)})
			report := lint.Check(lint.Input{Plan: p, File: "plan.yaml", Document: []byte(corpusPlan), Files: folder, Folder: "sql"})
			db := pgtest.New(t)
			db.Exec(t, string(base))
			told, err := Statements(t.Context(), db.DSN, folder, []uint{2})
			require.NoError(t, err)
			for i, s := range told {
				require.Empty(t, s.Problem)
				next := strings.Count(string(text), "\n") + 2
				if i+1 < len(told) {
					next = told[i+1].Line
				}
				errors := errorsAt(report, "sql/"+up, s.Line, max(next, s.Line+1))
				if s.Verdict.Compare(BlocksWrites) >= 0 {
					require.NotEmpty(t, errors, "%s, line %d: %s: %s\n%s", s.Summary, s.Line, s.Verdict, s.Detail(), text)
				} else if len(errors) > 0 { // it may be right for another reason than what this statement does to traffic
					t.Logf("%s, line %d: %s, and the linter says %s", s.Summary, s.Line, s.Verdict, strings.Join(errors, ", "))
				}
			}
		})
	}
}

// errorsAt lists the rules of the errors found from one line on and before another, ignored or not.
func errorsAt(report lint.Report, file string, from, to int) (rules []string) {
	for _, f := range slices.Concat(report.Findings, report.Ignored) {
		if f.File == file && f.Line >= from && f.Line < to && f.Severity == lint.Error {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}
