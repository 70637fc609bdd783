package lint

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
)

// inputOf is a plan with its files, by name, as the command would read them.
func inputOf(t testing.TB, document string, files map[string]string) Input {
	t.Helper()
	p, err := plan.Decode("plan.yaml", []byte(document))
	require.NoError(t, err)
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	read, err := ddl.ReadFiles(folder)
	require.NoError(t, err)
	return Input{Plan: p, File: "plan.yaml", Document: []byte(document), Files: read, Folder: "migrations"}
}

// schemaAfter is what the texts make, one file after the other.
func schemaAfter(t *testing.T, texts ...string) *schema {
	t.Helper()
	s := newSchema()
	for _, text := range texts {
		statements, err := sqltree.Parse(text)
		require.NoError(t, err)
		s.settle()
		for _, st := range statements {
			s.apply(st)
		}
	}
	return s
}

// only keeps the findings of one rule.
func only(r Report, rule string) []Finding {
	var found []Finding
	for _, f := range r.Findings {
		if f.Rule == rule {
			found = append(found, f)
		}
	}
	return found
}

const twoSteps = `name: p
database: d
migrations: migrations
steps:
  - name: first
    migrate: {to: 2}
  - name: second
    migrate: {to: 4}
`

func TestEachFileBelongsToTheStepThatAppliesIt(t *testing.T) {
	t.Parallel()
	c := newCheck(inputOf(t, twoSteps, map[string]string{
		"1_a.up.sql": "select 1", "2_a.up.sql": "select 1; select 2", "3_a.up.sql": "select 1", "4_a.up.sql": "select 1", "5_later.up.sql": "select 1",
		"1_a.down.sql": "select 1", "2_a.down.sql": "select 1", "3_a.down.sql": "select 1", "4_a.down.sql": "select 1",
	}))
	steps := map[uint]int{}
	for _, s := range c.all {
		steps[s.Version] = s.step
	}
	require.Equal(t, map[uint]int{1: history, 2: 0, 3: 1, 4: 1}, steps)
	require.Len(t, c.downs, 3)
	r := c.report()
	require.Equal(t, 7, r.Files)
	require.Equal(t, 8, r.Statements)
}

func TestFilesThatPostgresOrContraflowWouldRefuseAreFound(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"1_old.up.sql": "selec 1", // has run, or was somebody else's mistake
		"2_a.up.sql":   "select 1;\n  selec 2;", "2_a.down.sql": "select (",
		"3_a.up.sql": "select 1;\ncommit;", "3_a.down.sql": "select 1",
		"4_a.up.sql": "-- contraflow: no-transaction\nselect 1; select 2", "4_a.down.sql": "select 1",
	}
	r := Check(inputOf(t, twoSteps, files))
	syntax := only(r, "syntax-error")
	require.Len(t, syntax, 2)
	require.Equal(t, "migrations/2_a.down.sql", syntax[0].File)
	require.Equal(t, "migrations/2_a.up.sql", syntax[1].File)
	require.Equal(t, [2]int{2, 3}, [2]int{syntax[1].Line, syntax[1].Column})
	refused := only(r, "script-refused")
	require.Len(t, refused, 2)
	require.Equal(t, "migrations/3_a.up.sql", refused[0].File)
	require.Equal(t, 2, refused[0].Line)
	require.Equal(t, "migrations/4_a.up.sql", refused[1].File)

	in := inputOf(t, twoSteps, files)
	in.All = true
	require.Len(t, only(Check(in), "syntax-error"), 3)
}

func TestRulesMeetTheSchemaInFrontOfTheirStatement(t *testing.T) {
	t.Parallel()
	c := newCheck(inputOf(t, twoSteps, map[string]string{
		"1_a.up.sql": "create table old (id int)", "2_a.up.sql": "create table young (id int);", "2_a.down.sql": "drop table young;",
		"4_a.up.sql": "alter table young add column more int;", "4_a.down.sql": "alter table young drop column more;",
	}))
	c.scripts()
	require.Equal(t, history, c.at[0].named("old").step)
	require.False(t, c.at[0].named("young").known)
	require.Equal(t, 0, c.at[1].named("young").step)
	require.True(t, c.at[1].named("young").fresh)
	require.False(t, c.at[2].named("young").fresh, "the application may use it since the step before")
	require.Equal(t, 1, c.at[2].named("young").column("more").step)
	require.Nil(t, c.at[1].named("young").column("more"))
}
