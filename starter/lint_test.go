package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/lint"
)

// lintable is a sound plan of two versions; the second is this SQL.
func lintable(t *testing.T, up string) (file string) {
	t.Helper()
	file = folder(t, "name: two\ndatabase: shop\nmigrations: sql\nsteps:\n  - name: expand\n    migrate: {to: 2}\n")
	sql := filepath.Join(filepath.Dir(file), "sql")
	for name, text := range map[string]string{
		"1_init.up.sql": "create table t (id bigint primary key, a text);\n",
		"2_add.up.sql":  up, "2_add.down.sql": "-- contraflow: no-transaction\ndrop index concurrently t_a;\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(sql, name), []byte(text), 0o600))
	}
	return file
}

const (
	hazard = "create index t_a on t (a);\n"
	safe   = "-- contraflow: no-transaction\ncreate index concurrently t_a on t (a);\n"
)

func lintCall(t *testing.T, args ...string) answer {
	t.Helper()
	return callAt(t, "127.0.0.1:1", append([]string{"lint"}, args...)...)
}

func TestLintFailsOnWhatItFinds(t *testing.T) {
	t.Parallel()
	file := lintable(t, hazard)
	a := lintCall(t, file)
	require.Equal(t, exitError, a.code)
	place := filepath.Join(filepath.Dir(file), "sql", "2_add.up.sql") + ":1:1  error  require-concurrent-index-creation\n"
	require.Contains(t, a.stdout, place)
	require.Contains(t, a.stdout, "\n      CREATE INDEX CONCURRENTLY t_a ON t USING btree (a);\n")
	require.Contains(t, a.stdout, "1 error in 3 SQL files, 3 statements\n")
	require.NotContains(t, a.stdout, "\x1b", "no terminal, no colours")
	require.Empty(t, a.stderr)

	ignored := lintCall(t, lintable(t, "-- contraflow: ignore require-concurrent-index-creation: t is empty\n"+hazard))
	require.Zero(t, ignored.code, ignored.stdout)
	require.Contains(t, ignored.stdout, "; 1 ignored\n")
}

func TestLintIsContentWithSafeForms(t *testing.T) {
	t.Parallel()
	down := lintable(t, safe)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(down), "sql", "2_add.down.sql"), []byte("-- contraflow: no-transaction\ndrop index concurrently t_a;\n"), 0o600))
	a := lintCall(t, down)
	require.Zero(t, a.code, a.stdout)
	require.Equal(t, "nothing found in 3 SQL files, 3 statements\n", a.stdout)
}

func TestLintFailsFromTheSeverityAskedFor(t *testing.T) {
	t.Parallel()
	file := lintable(t, "alter table t add column at timestamp;\n-- contraflow: ignore renaming-table: long gone\ncomment on table t is 'x';\n")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "sql", "2_add.down.sql"), []byte("alter table t drop column at;\ncomment on table t is null;\n"), 0o600))
	require.Zero(t, lintCall(t, file).code)
	require.Equal(t, exitError, lintCall(t, file, "--fail-on", "warning").code, "the stale comment")
	require.Equal(t, exitError, lintCall(t, file, "--fail-on", "note").code)
}

func TestLintWritesEachFormat(t *testing.T) {
	t.Parallel()
	file := lintable(t, hazard)
	var report lint.Report
	for _, args := range [][]string{{file, "--format", "json"}, {file, "--json"}} {
		a := lintCall(t, args...)
		require.Equal(t, exitError, a.code)
		a.decode(t, &report)
		require.Len(t, report.Findings, 1)
		require.Equal(t, "two", report.Plan)
	}
	require.Contains(t, lintCall(t, file, "--format", "github").stdout, "::error file=")
	var log struct{ Version string }
	lintCall(t, file, "--format", "sarif").decode(t, &log)
	require.Equal(t, "2.1.0", log.Version)
}

func TestLintRefusesWrongCallsAndBadPlans(t *testing.T) {
	t.Parallel()
	file := lintable(t, hazard)
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "PLAN is missing"},
		{[]string{file, "--format", "xml"}, `--format is "xml": give text, json, sarif or github`},
		{[]string{file, "--fail-on", "never"}, `--fail-on is "never": give error, warning or note`},
		{[]string{file, "--rules"}, "does not understand"},
		{[]string{filepath.Join(t.TempDir(), "none.yaml")}, "no such file"},
		{[]string{folder(t, "name: [", "1_a.up.sql")}, "not YAML or JSON"},
		{[]string{folder(t, "name: p\ndatabase: d\nmigrations: none\nsteps: [{name: a, migrate: {to: 1}}]\n")}, "there is no folder"},
		{[]string{folder(t, twoSteps, "add_index.sql")}, "golang-migrate would ignore it"},
	} {
		a := lintCall(t, c.args...)
		require.Equal(t, exitUsage, a.code, "%v", c.args)
		require.Contains(t, a.stderr, c.says)
		require.Empty(t, a.stdout)
	}
	a := lintCall(t, file, "--json", "--format", "sarif")
	require.Equal(t, exitUsage, a.code)
	var failed failure
	a.decode(t, &failed)
	require.Contains(t, failed.Error, "give one of them")
}

func TestLintListsItsRules(t *testing.T) {
	t.Parallel()
	a := lintCall(t, "--rules")
	require.Zero(t, a.code)
	require.Regexp(t, `(?m)^require-concurrent-index-creation +error +\S`, a.stdout)
	var rules []listedRule
	lintCall(t, "--rules", "--json").decode(t, &rules)
	require.Len(t, rules, len(lint.Rules()))
	require.NotEmpty(t, rules[0].Why)
}

// The example is what people copy from.
func TestTheExamplePassesLint(t *testing.T) {
	t.Parallel()
	a := lintCall(t, "../examples/shop/plan.yaml")
	require.Zero(t, a.code, a.stdout)
}

func TestLintNamesFilesFromHere(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, "lint.go", fromHere(filepath.Join(here, "lint.go")))
	require.Equal(t, filepath.Join("..", "plan.yaml"), fromHere("../x/../plan.yaml"))
	require.Equal(t, filepath.Dir(here), fromHere(filepath.Dir(here)))
}
