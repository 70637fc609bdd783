package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// folder is a plan with a folder of SQL files beside it, in a directory of the test's own; it returns the plan's path.
func folder(t *testing.T, plan string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sql"), 0o755))
	for _, name := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sql", name), []byte("select 1;\n"), 0o600))
	}
	file := filepath.Join(dir, "plan.yaml")
	require.NoError(t, os.WriteFile(file, []byte(plan), 0o600))
	return file
}

const twoSteps = `name: two
database: shop
migrations: sql
steps:
  - name: expand
    migrate: {to: 2}
  - name: prove
    verify: {query: select 0, max: 0}
  - name: ask
    approve: {by: [alice]}
  - name: drop-old
    migrate: {to: 3, irreversible: true}
`

var complete = []string{"1_init.up.sql", "1_init.down.sql", "2_add.up.sql", "2_add.down.sql", "3_drop.up.sql"}

func TestValidateTellsTheHash(t *testing.T) {
	t.Parallel()
	file := folder(t, twoSteps, append(complete, "4_later.up.sql", "README.md")...)
	var first, second validated
	callAt(t, "127.0.0.1:1", "validate", file, "--json").decode(t, &first)
	require.Equal(t, "two", first.Plan)
	require.Len(t, first.Hash, 64)
	require.Len(t, first.Files, 5, "version 4 is not the plan's")
	require.Equal(t, "1_init.up.sql", first.Files[0].Name)
	require.Empty(t, first.Notes)

	a := callAt(t, "127.0.0.1:1", "validate", file)
	require.Zero(t, a.code)
	require.Equal(t, "Plan two is sound: 4 steps, 5 SQL files, hash "+first.Hash+"\n", a.stdout)

	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "sql", "2_add.down.sql"), []byte("select 2;\n"), 0o600))
	callAt(t, "127.0.0.1:1", "validate", file, "--json").decode(t, &second)
	require.NotEqual(t, first.Hash, second.Hash, "an SQL file's change is a change of the plan")
}

func TestValidateLooksAtTheFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		without, with string
		says          string
	}{
		"the version itself is missing":    {"2_add.up.sql", "", "version 2 has no .up.sql"},
		"no way back":                      {"2_add.down.sql", "", "version 2 has no .down.sql"},
		"a version before has no way up":   {"1_init.up.sql", "", "version 1 has no .up.sql"},
		"the irreversible step is missing": {"3_drop.up.sql", "", "version 3 has no .up.sql"},
		"a stray":                          {"", "add_index.sql", "add_index.sql: golang-migrate would ignore it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []string
			for _, f := range append(complete, c.with) {
				if f != c.without && f != "" {
					files = append(files, f)
				}
			}
			a := callAt(t, "127.0.0.1:1", "validate", folder(t, twoSteps, files...))
			require.Equal(t, exitUsage, a.code)
			require.Equal(t, 1, strings.Count(a.stderr, c.says), a.stderr)
			require.Empty(t, a.stdout)
		})
	}
}

func TestValidateNotesWhatMayMatter(t *testing.T) {
	t.Parallel()
	a := callAt(t, "127.0.0.1:1", "validate", folder(t, twoSteps, "1_init.up.sql", "2_add.up.sql", "2_add.down.sql", "3_drop.up.sql"))
	require.Zero(t, a.code, "the database most likely stands at version 1 already")
	require.Contains(t, a.stderr, "note: ")
	require.Contains(t, a.stderr, "version 1 has no .down.sql")
}

func TestValidateMissesTheFolder(t *testing.T) {
	t.Parallel()
	file := folder(t, strings.Replace(twoSteps, "sql", "elsewhere", 1))
	a := callAt(t, "127.0.0.1:1", "validate", file)
	require.Equal(t, exitUsage, a.code)
	require.Equal(t, file+":3:13: migrations: there is no folder "+filepath.Join(filepath.Dir(file), "elsewhere")+
		": create it, or name the one that holds the SQL files\n", a.stderr)
}

func TestValidateTellsEveryMistakeOfTheFilesAtOnce(t *testing.T) {
	t.Parallel()
	file := folder(t, twoSteps, "0001_init.up.sql", "0001_init.down.sql", "0002_add.up.sql", "1_again.up.sql", "index.sql", "view.sql")
	a := callAt(t, "127.0.0.1:1", "validate", file)
	require.Equal(t, exitUsage, a.code)
	sql := filepath.Join(filepath.Dir(file), "sql")
	for _, says := range []string{
		file + ":3:13: migrations: " + filepath.Join(sql, "1_again.up.sql") + ": 0001_init.up.sql is version 1 up too",
		file + ":3:13: migrations: " + filepath.Join(sql, "index.sql") + ": golang-migrate would ignore it",
		file + ":3:13: migrations: " + filepath.Join(sql, "view.sql") + ": golang-migrate would ignore it",
		file + ":6:19: steps[0].migrate.to: in " + sql,
		file + ":12:19: steps[3].migrate.to: in " + sql,
		"version 2 has no .down.sql", "version 3 has no .up.sql",
	} {
		require.Equal(t, 1, strings.Count(a.stderr, says), "%s\n%s", says, a.stderr)
	}
	var f failure
	callAt(t, "127.0.0.1:1", "validate", file, "--json").decode(t, &f)
	require.Len(t, f.Problems, 5)
	require.Equal(t, "migrations", f.Problems[0].Path)
}

func TestTheExampleIsSound(t *testing.T) {
	t.Parallel()
	a := callAt(t, "127.0.0.1:1", "validate", "../examples/shop/plan.yaml")
	require.Zero(t, a.code, a.stderr)
}
