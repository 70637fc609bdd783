package lint

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/sqltree"
	"github.com/contraflow/contraflow/plan"
)

var (
	fileLine = regexp.MustCompile(`(?m)^-- file: (.*)\n`)
	planLine = regexp.MustCompile(`(?m)^-- (- |  )`)
)

// pasted is one file after a safe form was pasted.
type pasted struct{ name, sql string }

// paste does with a safe form what it says, in the order in which its files run: a form without files takes the place of the
// statement that the finding is about.
func paste(t *testing.T, original string, f Finding) (all []pasted) {
	t.Helper()
	const name = "000002_change.up.sql"
	statements, err := sqltree.Parse(original)
	require.NoError(t, err)
	without := func(body string) pasted {
		for _, st := range statements {
			if line, column := sqltree.Position(original, st.Start); line == f.Line && column == f.Column {
				require.Equal(t, st.Text, original[st.Start:st.Start+len(st.Text)])
				return pasted{name, original[:st.Start] + body + strings.TrimPrefix(original[st.Start+len(st.Text):], ";")}
			}
		}
		require.Fail(t, "no statement there", "%+v in\n%s", f, original)
		return pasted{}
	}
	places := fileLine.FindAllStringSubmatchIndex(f.Safe, -1)
	first, inFiles := f.Safe, len(places) > 0
	if inFiles {
		first = f.Safe[:places[0][0]]
	}
	switch {
	case strings.HasPrefix(first, inPlace) || !inFiles:
		all = append(all, without(first+"\n"))
	case first == otherStay:
		all = append(all, without(""))
	default:
		require.Empty(t, first, f.Safe)
		require.Len(t, statements, 1, "what becomes of the others? %s", f.Safe)
	}
	for i, p := range places {
		end := len(f.Safe)
		if i+1 < len(places) {
			end = places[i+1][0]
		}
		all = append(all, pasted{f.Safe[p[2]:p[3]], f.Safe[p[1]:end]})
	}
	return all
}

// requirePlan takes the steps that a form holds, as they are or in comments, into a plan.
func requirePlan(t *testing.T, safe string) {
	t.Helper()
	if !strings.HasPrefix(safe, "- name: ") {
		var steps []string
		for line := range strings.Lines(safe) {
			if planLine.MatchString(line) {
				steps = append(steps, strings.TrimPrefix(line, "-- "))
			}
		}
		safe = strings.Join(steps, "")
	}
	if safe == "" {
		return
	}
	document := "name: p\ndatabase: d\nmigrations: m\nsteps:\n  - name: first-of-all\n    approve: {by: [a]}\n"
	for line := range strings.Lines(safe) {
		document += "  " + line
	}
	_, err := plan.Decode("plan.yaml", []byte(document))
	require.NoError(t, err, document)
}
