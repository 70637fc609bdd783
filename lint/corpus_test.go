package lint

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
)

// corpus is where SQL files say in their comments what is to be found in them.
const corpus = "../tests/corpus"

// runsFrom bounds the versions of Postgres on which a file can run.
var runsFrom = regexp.MustCompile(`^-- runs: from (\d+), because `)

// sample is one file of the corpus.
type sample struct {
	name, text string
	expect     []string // rule@line
	// refusal is why the file can't run; empty if it can.
	refusal string
	// from is the first version of Postgres on which it can run; 0 for all.
	from int
	// irreversible says that its step is declared so.
	irreversible bool
}

func readCorpus(t *testing.T) (base string, all []sample) {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(corpus, "base.sql"))
	require.NoError(t, err)
	names, err := filepath.Glob(filepath.Join(corpus, "[0-9]*.sql"))
	require.NoError(t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		s := sample{name: strings.TrimSuffix(filepath.Base(name), ".sql"), text: string(text)}
		expected := false
		for line := range strings.Lines(s.text) {
			if list, ok := strings.CutPrefix(strings.TrimSpace(line), "-- expect: "); ok {
				expected = true
				if list != "nothing" {
					s.expect = strings.Split(list, ", ")
				}
			}
			if reason, ok := strings.CutPrefix(strings.TrimSpace(line), "-- runs: no, because "); ok {
				s.refusal = reason
			}
			if m := runsFrom.FindStringSubmatch(line); m != nil {
				s.from, err = strconv.Atoi(m[1])
				require.NoError(t, err)
			}
			s.irreversible = s.irreversible || strings.TrimSpace(line) == "-- step: irreversible"
		}
		require.True(t, expected, "%s doesn't say what to expect", name)
		slices.Sort(s.expect)
		all = append(all, s)
	}
	return string(body), all
}

// runsOn tells whether it can run on a server of this major version.
func (s sample) runsOn(major int) bool { return s.refusal == "" && s.from <= major }

// files are the base as version 1 and the sample as version 2, which nothing takes back.
func (s sample) files(t *testing.T, base string) *ddl.Files {
	t.Helper()
	files, err := ddl.ReadFiles(fstest.MapFS{
		"1_base.up.sql":           {Data: []byte(base)},
		"2_" + s.name + ".up.sql": {Data: []byte(s.text)},
	})
	require.NoError(t, err)
	return files
}

const changePlan = `name: corpus
database: shop
migrations: sql
steps:
  - name: prove
    verify: {query: select 0, max: 0}
  - name: ask
    approve: {by: [alice]}
  - name: change
    migrate: {to: 2, irreversible: %t}
`

// check lints the sample as the second version of a plan's folder.
func (s sample) check(t *testing.T, base string) []Finding {
	t.Helper()
	document := fmt.Appendf(nil, changePlan, s.irreversible)
	change, err := plan.Decode("plan.yaml", document)
	require.NoError(t, err)
	report := Check(Input{Plan: change, File: "plan.yaml", Document: document, Files: s.files(t, base), Folder: "sql"})
	return slices.DeleteFunc(report.Findings, func(f Finding) bool {
		return f.File != "sql/2_"+s.name+".up.sql" || slices.ContainsFunc(planRules, func(r planRule) bool { return r.ID == f.Rule })
	})
}

func TestTheCorpusIsJudgedAsItSays(t *testing.T) {
	t.Parallel()
	base, all := readCorpus(t)
	require.GreaterOrEqual(t, len(all), 60)
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			findings := s.check(t, base)
			var found []string
			for _, f := range findings {
				found = append(found, fmt.Sprintf("%s@%d", f.Rule, f.Line))
			}
			slices.Sort(found)
			require.Equal(t, s.expect, found, "%s\n%+v", s.text, findings)
		})
	}
}

// A rule that the corpus doesn't hit could be broken and nobody would notice.
func TestTheCorpusHitsEveryStatementRule(t *testing.T) {
	t.Parallel()
	_, all := readCorpus(t)
	hit := map[string]bool{}
	clean := 0
	for _, s := range all {
		if len(s.expect) == 0 {
			clean++
		}
		for _, e := range s.expect {
			rule, _, _ := strings.Cut(e, "@")
			hit[rule] = true
		}
	}
	require.GreaterOrEqual(t, clean, 30, "safe forms, which must not be found")
	for _, r := range statementRules {
		require.True(t, hit[r.ID], "no file expects %s", r.ID)
	}
}
