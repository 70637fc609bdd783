package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/ddl"
	"github.com/contraflow/contraflow/plan"
)

// ignoringPlan applies version 2 with a way back; %s stands above its step.
const ignoringPlan = `name: ignoring
database: shop
migrations: sql
steps:
  %s
  - name: change # what is asked for
    migrate: {to: 2}
`

// lintOf lints a plan whose second version is this text.
func lintOf(t *testing.T, above, up string, more ...string) Report {
	t.Helper()
	document := fmt.Appendf(nil, ignoringPlan, above)
	p, err := plan.Decode("plan.yaml", document)
	require.NoError(t, err)
	folder := fstest.MapFS{
		"1_base.up.sql":   {Data: []byte("create table t (id bigint primary key, a text, b text);\n")},
		"2_change.up.sql": {Data: []byte(up)},
	}
	for i := 0; i < len(more); i += 2 {
		folder[more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	files, err := ddl.ReadFiles(folder)
	require.NoError(t, err)
	return Check(Input{Plan: p, File: "plan.yaml", Document: document, Files: files, Folder: "sql"})
}

// in are the findings in a file, as rule@line.
func in(file string, findings []Finding) (all []string) {
	for _, f := range findings {
		if f.File == file {
			all = append(all, fmt.Sprintf("%s@%d", f.Rule, f.Line))
		}
	}
	return all
}

const (
	upFile    = "sql/2_change.up.sql"
	buildsOne = "create index one on t (a);\n"
	buildsTwo = "create index two on t (b);\n"
	blocking  = "require-concurrent-index-creation"
	ignoreIt  = "-- contraflow: ignore " + blocking + ": t is small\n"
)

func TestACommentIgnoresARuleForOneStatement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		up               string
		counted, ignored []string
	}{
		"above":                      {ignoreIt + buildsOne + buildsTwo, []string{blocking + "@3"}, []string{blocking + "@2"}},
		"above the second":           {buildsOne + "-- two is\n" + ignoreIt + "\n-- needed\n" + buildsTwo, []string{blocking + "@1"}, []string{blocking + "@6"}},
		"behind":                     {strings.TrimSpace(buildsOne) + " " + ignoreIt + buildsTwo, []string{blocking + "@2"}, []string{blocking + "@1"}},
		"behind the last":            {buildsOne + strings.TrimSpace(buildsTwo) + " " + ignoreIt, []string{blocking + "@1"}, []string{blocking + "@2"}},
		"on the statement's last":    {"create index one\non t (a) " + ignoreIt + ";\n" + buildsTwo, []string{blocking + "@4"}, []string{blocking + "@1"}},
		"two statements in one line": {buildsOne[:len(buildsOne)-1] + buildsTwo[:len(buildsTwo)-1] + ignoreIt, []string{blocking + "@1"}, []string{blocking + "@1"}},
		"above no-transaction's":     {"-- contraflow: no-transaction\n-- contraflow: ignore require-concurrent-reindex: at night\nreindex index t_pkey;\n", []string{"needless-no-transaction@3"}, []string{"require-concurrent-reindex@3"}},
		"two rules": {"-- contraflow: ignore require-concurrent-reindex, needless-no-transaction: at night\nreindex index t_pkey;\n",
			[]string{"ignore-unused@1"}, []string{"require-concurrent-reindex@2"}},
		"not in a text": {"comment on table t is '\n" + ignoreIt + "';\n" + buildsOne, []string{blocking + "@4"}, nil},
		"of Windows":    {strings.ReplaceAll(ignoreIt+buildsOne, "\n", "\r\n"), nil, []string{blocking + "@2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := lintOf(t, "", c.up)
			require.Equal(t, c.counted, in(upFile, report.Findings), "%+v", report.Findings)
			require.Equal(t, c.ignored, in(upFile, report.Ignored), "%+v", report.Ignored)
		})
	}
	require.Equal(t, "t is small", lintOf(t, "", ignoreIt+buildsOne).Ignored[0].Ignored)
}

func TestACommentThatDoesNothingIsAFinding(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		up      string
		found   []string
		message string
	}{
		"no reason":        {"-- contraflow: ignore " + blocking + "\n" + buildsOne, []string{"ignore-without-reason@1", blocking + "@2"}, `"contraflow: ignore ` + blocking + `: reason"`},
		"an empty reason":  {"-- contraflow: ignore " + blocking + ": \n" + buildsOne, []string{"ignore-without-reason@1", blocking + "@2"}, "say why"},
		"misspelt":         {"-- contraflow: ignore require-concurent-index-creation: small\n" + buildsOne, []string{"ignore-unknown@1", blocking + "@2"}, "did you mean " + blocking},
		"squawk's name":    {"-- contraflow: ignore ban-set-default: small\n" + buildsOne, []string{"ignore-unknown@1", blocking + "@2"}, "did you mean changing-column-default"},
		"nothing like it":  {"-- contraflow: ignore everything: small\n" + buildsOne, []string{"ignore-unknown@1", blocking + "@2"}, "contraflow lint --rules"},
		"no rule":          {"-- contraflow: ignore\n" + buildsOne, []string{"ignore-unknown@1", blocking + "@2"}, "says nothing"},
		"stale":            {ignoreIt + "comment on table t is 'x';\n" + buildsOne, []string{"ignore-unused@1", blocking + "@3"}, "remove the comment"},
		"above nothing":    {buildsOne + ignoreIt, []string{blocking + "@1", "ignore-unused@2"}, ""},
		"itself":           {"-- contraflow: ignore ignore-unused: it is\n" + ignoreIt + "comment on table t is 'x';\n", []string{"ignore-unknown@1", "ignore-unused@2"}, "can't be ignored"},
		"another word":     {buildsOne + "-- contraflow: ingore " + blocking + ": small\n" + buildsTwo, []string{blocking + "@1", "ignore-unknown@2", blocking + "@3"}, "says nothing"},
		"a misread header": {"--contraflow: no-transaction\n" + buildsOne, []string{"ignore-unknown@1", "script-refused@1", blocking + "@2"}, "as the file's first line"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := lintOf(t, "", c.up)
			require.Equal(t, c.found, in(upFile, report.Findings), "%+v", report.Findings)
			require.True(t, slices.ContainsFunc(report.Findings, func(f Finding) bool { return strings.Contains(f.Message, c.message) }), "%+v", report.Findings)
			require.Empty(t, report.Ignored)
		})
	}
}

func TestTheGrammarCantBeIgnored(t *testing.T) {
	t.Parallel()
	report := lintOf(t, "", "-- contraflow: ignore syntax-error: it works here\ncreate tabel x;\n")
	require.Equal(t, []string{"ignore-unknown@1", "syntax-error@2"}, in(upFile, report.Findings))
}

func TestACommentInThePlanIgnoresARuleForItsStep(t *testing.T) {
	t.Parallel()
	const missing = "down-missing"
	up := "comment on table t is 'x';\n"
	require.Equal(t, []string{missing + "@7"}, in("plan.yaml", lintOf(t, "", up).Findings))

	report := lintOf(t, "# contraflow: ignore "+missing+": nobody goes back", up)
	require.Empty(t, in("plan.yaml", report.Findings))
	require.Equal(t, []string{missing + "@7"}, in("plan.yaml", report.Ignored))

	report = lintOf(t, "- {name: wait, soak: 1s} # contraflow: ignore "+missing+": nobody goes back", up)
	require.Equal(t, []string{"ignore-unused@5", missing + "@7"}, in("plan.yaml", report.Findings), "it is another step's")

	report = lintOf(t, "# contraflow: ignore "+missing, up)
	require.Equal(t, []string{"ignore-without-reason@5", missing + "@7"}, in("plan.yaml", report.Findings))
}

func TestADownFilesCommentsCount(t *testing.T) {
	t.Parallel()
	down := "sql/2_change.down.sql"
	const notInverse = "down-not-inverse"
	require.Equal(t, []string{notInverse + "@1"}, in(down, lintOf(t, "", buildsOne, "2_change.down.sql", "select 1;\n").Findings))
	report := lintOf(t, "", buildsOne, "2_change.down.sql", "-- contraflow: ignore "+notInverse+": the index does no harm\nselect 1;\n")
	require.Empty(t, in(down, report.Findings))
	require.Equal(t, []string{notInverse + "@2"}, in(down, report.Ignored))
}

// What has run can't be mended: its comments are as old as it is.
func TestOlderFilesMayIgnoreWhatTheyLike(t *testing.T) {
	t.Parallel()
	report := lintOf(t, "", buildsOne, "1_base.up.sql", "-- contraflow: ignore nonsense\ncreate table t (id bigint primary key, a text, b text);\n")
	require.Empty(t, in("sql/1_base.up.sql", report.Findings))
}

func TestEveryRuleIsWellFormed(t *testing.T) {
	t.Parallel()
	rules := Rules()
	require.True(t, slices.IsSortedFunc(rules, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) }))
	require.Equal(t, rules, slices.CompactFunc(slices.Clone(rules), func(a, b Rule) bool { return a.ID == b.ID }), "ids are unique")
	for _, r := range rules {
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, r.ID)
		require.Contains(t, Severities(), r.Severity, r.ID)
		require.NotEmpty(t, r.Title, r.ID)
		require.NotContains(t, r.Title, ".", r.ID)
		require.Regexp(t, `\.$`, r.Why, r.ID)
	}
}

func TestACommentThatOnlyLooksLikeOursIsTold(t *testing.T) {
	t.Parallel()
	for _, comment := range []string{
		"/* contraflow: ignore " + blocking + ": t is small */\n",
		"-- Contraflow: ignore " + blocking + ": t is small\n",
		"-- contraflow ignore " + blocking + ": t is small\n",
	} {
		require.ElementsMatch(t, []string{"ignore-unknown@1", blocking + "@2"}, in(upFile, lintOf(t, "", comment+buildsOne).Findings), comment)
	}
	require.ElementsMatch(t, []string{"ignore-unknown@1", "script-refused@1", blocking + "@2"}, in(upFile, lintOf(t, "", "--CONTRAFLOW : no-transaction\n"+buildsOne).Findings))
	require.Contains(t, in("plan.yaml", lintOf(t, "# Contraflow ignore flag-unused: why", "select 1;").Findings), "ignore-unknown@5")
	for _, comment := range []string{"-- contraflow fills the column later\n", "/* as contraflow does */\n", "select 'contraflow: ignore' as \"-- contraflow ignore\";\n"} {
		require.NotContains(t, fmt.Sprint(in(upFile, lintOf(t, "", comment+"select 1;").Findings)), "ignore-unknown", comment)
	}
}
