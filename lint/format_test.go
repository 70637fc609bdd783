package lint

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// reported is one finding of each kind, with what is hard to write.
func reported() Report {
	return Report{
		Plan: "p", Files: 4, Statements: 12,
		Findings: []Finding{
			{Rule: "renaming-column", Severity: Error, File: "a b/1_x,y.up.sql", Line: 3, Column: 1, Message: "column ä of t: 100 % renamed", Why: strings.Repeat("why it is one, ", 12) + "at last.", Safe: "alter table t\n  add column b text;\n"},
			{Rule: "prefer-identity", Severity: Note, File: "plan.yaml", Line: 1, Column: 2, Message: "two\x1b[31m words", Why: "Because."},
		},
		Ignored: []Finding{{Rule: "renaming-table", Severity: Error, File: "a b/1_x,y.up.sql", Line: 9, Column: 1, Message: "t is renamed", Why: "Because.", Ignored: "nobody reads it"}},
	}
}

func inFormat(t *testing.T, r Report, format Format, colour bool) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, r.Write(&b, format, colour))
	return b.String()
}

func TestTextIsForPeople(t *testing.T) {
	t.Parallel()
	require.Equal(t, `a b/1_x,y.up.sql:3:1  error  renaming-column
  column ä of t: 100 % renamed
  why it is one, why it is one, why it is one, why it is one, why it is one, why it is one, why it
  is one, why it is one, why it is one, why it is one, why it is one, why it is one, at last.

      alter table t
        add column b text;

plan.yaml:1:2  note  prefer-identity
  two [31m words
  Because.

1 error, 1 note in 4 SQL files, 12 statements; 1 ignored
`, inFormat(t, reported(), Text, false))
	twice := reported()
	twice.Findings[1].Why = twice.Findings[0].Why
	require.Equal(t, 1, strings.Count(inFormat(t, twice, Text, false), "at last."), "why is told once")
	require.Contains(t, inFormat(t, reported(), Text, true), bold+"a b/1_x,y.up.sql:3:1"+reset+"  "+red+"error"+reset+"  renaming-column\n")
	require.Equal(t, "nothing found in 1 SQL file, 0 statements\n", inFormat(t, Report{Files: 1}, Text, false))
}

func TestJSONIsTheReport(t *testing.T) {
	t.Parallel()
	var back Report
	require.NoError(t, json.Unmarshal([]byte(inFormat(t, reported(), JSON, true)), &back))
	require.Equal(t, reported(), back)
}

// The escapes are those of actions/toolkit.
func TestGitHubGetsCommands(t *testing.T) {
	t.Parallel()
	lines := strings.Split(inFormat(t, reported(), GitHub, true), "\n")
	require.Len(t, lines, 4)
	require.True(t, strings.HasPrefix(lines[0], "::error file=a b/1_x%2Cy.up.sql,line=3,col=1,title=renaming-column::column ä of t: 100 %25 renamed%0Awhy"), lines[0])
	require.True(t, strings.HasSuffix(lines[0], "at last.%0A%0Aalter table t%0A  add column b text;"), lines[0])
	require.True(t, strings.HasPrefix(lines[1], "::notice file=plan.yaml,line=1,col=2,title=prefer-identity::two"), lines[1])
	require.Equal(t, "1 error, 1 note in 4 SQL files, 12 statements; 1 ignored", lines[2])
}

func TestSARIFHasWhatTheStandardRequires(t *testing.T) {
	t.Parallel()
	var log struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Name  string
					Rules []struct {
						ID               string
						ShortDescription struct{ Text string }
						Help             struct{ Text string }
					}
				}
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Level     string
				Message   struct{ Text, Markdown string }
				Locations []struct {
					PhysicalLocation struct {
						ArtifactLocation struct{ URI, URIBaseID string }
						Region           struct{ StartLine, StartColumn int }
					}
				}
				Suppressions []struct{ Kind, Justification string }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(inFormat(t, reported(), SARIF, true)), &log))
	require.Equal(t, "2.1.0", log.Version)
	require.Len(t, log.Runs, 1)
	run := log.Runs[0]
	require.NotEmpty(t, run.Tool.Driver.Name)
	require.Len(t, run.Tool.Driver.Rules, len(Rules()))
	require.Len(t, run.Results, 3, "ignored ones too")
	for _, r := range run.Results {
		require.Equal(t, r.RuleID, run.Tool.Driver.Rules[r.RuleIndex].ID)
		require.NotEmpty(t, run.Tool.Driver.Rules[r.RuleIndex].Help.Text)
		require.NotEmpty(t, r.Message.Text)
	}
	first, ignored, note := run.Results[0], run.Results[1], run.Results[2]
	require.Equal(t, "error", first.Level)
	require.Equal(t, "a%20b/1_x,y.up.sql", first.Locations[0].PhysicalLocation.ArtifactLocation.URI)
	require.Equal(t, 3, first.Locations[0].PhysicalLocation.Region.StartLine)
	require.Equal(t, "%SRCROOT%", first.Locations[0].PhysicalLocation.ArtifactLocation.URIBaseID)
	require.Equal(t, sarifArtifact{URI: "file:///a%20b/plan.yaml"}, artifact("/a b/plan.yaml"))
	require.Contains(t, first.Message.Text, "add column b")
	require.Contains(t, first.Message.Markdown, "```sql\nalter table t\n  add column b text;\n```\n")
	require.Empty(t, first.Suppressions)
	require.Equal(t, "inSource", ignored.Suppressions[0].Kind)
	require.Equal(t, "nobody reads it", ignored.Suppressions[0].Justification)
	require.Equal(t, "note", note.Level)
}

func TestAReportReachesWhatItFound(t *testing.T) {
	t.Parallel()
	r := Report{Findings: []Finding{{Severity: Warning}}, Ignored: []Finding{{Severity: Error}}}
	require.False(t, r.Reaches(Error), "ignored ones don't count")
	require.True(t, r.Reaches(Warning))
	require.True(t, r.Reaches(Note))
	require.False(t, Report{}.Reaches(Note))
}
