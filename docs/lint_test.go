package docs

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/lint"
)

// Both tables of lint.md are the code's own; what a test expects of them is what to paste.
func TestTheRulesOfLintAreListed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("lint.md")
	require.NoError(t, err)
	cell := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace
	rules := "| rule | severity | what it finds | elsewhere |\n|------|----------|---------------|-----------|\n"
	for _, r := range lint.Rules() {
		rules += fmt.Sprintf("| `%s` | %s | %s | %s |\n", r.ID, r.Severity, cell(r.Title), cell(strings.Join(r.Sources, ", ")))
	}
	absent := "| rule | why not |\n|------|---------|\n"
	for _, a := range lint.Elsewhere() {
		absent += fmt.Sprintf("| %s | %s |\n", cell(a.Source), cell(a.Why))
	}
	for _, table := range []string{rules, absent} {
		require.True(t, strings.Contains(string(text), "\n"+table+"\n"), "lint.md must hold:\n%s", table)
	}
	for _, s := range lint.Severities() {
		require.True(t, strings.Contains(string(text), "| `"+string(s)+"`"), s)
	}
	for _, f := range lint.Formats() {
		require.True(t, strings.Contains(string(text), "`"+string(f)+"`"), f)
	}
}
