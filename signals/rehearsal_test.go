package signals_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

func TestARehearsalHasBounds(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", signals.MaxRehearsedText)
	full := func() signals.Rehearsal {
		r := signals.Rehearsal{PlanHash: long, Database: long, Server: long, Cluster: long, By: long, Worst: long}
		for range signals.MaxRehearsedStatements {
			r.Statements = append(r.Statements, signals.RehearsedStatement{Step: "fill", Where: long, Verdict: "instant", Detail: "語"})
		}
		for range signals.MaxRehearsedProblems {
			r.Problems = append(r.Problems, strings.Repeat("x", signals.MaxRehearsedProblem))
		}
		return r
	}
	check := func(r signals.Rehearsal) error {
		raw, err := json.Marshal(signals.Input{Name: "p", Rehearsal: &r}) // as any client may send it
		require.NoError(t, err)
		_, parsed := signals.ParseInput(raw)
		var arrived signals.Input
		require.Equal(t, parsed == nil, json.Unmarshal(raw, &arrived) == nil)
		return parsed
	}
	require.NoError(t, check(full()))
	for says, spoil := range map[string]func(*signals.Rehearsal){
		"holds 51 statements, and 50 is the most": func(r *signals.Rehearsal) { r.Statements = append(r.Statements, r.Statements[0]) },
		"holds 22 problems, and 21 is the most":   func(r *signals.Rehearsal) { r.Problems = append(r.Problems, "x") },
		"text of 301 bytes":                       func(r *signals.Rehearsal) { r.Problems[20] += "x" },
		"as JSON, and 32768 is the most": func(r *signals.Rehearsal) {
			for i := range r.Statements {
				r.Statements[i].Detail = long
				r.Statements[i].Step = long
			}
		},
	} {
		r := full()
		spoil(&r)
		require.ErrorContains(t, check(r), says)
		require.ErrorContains(t, check(r), "the rehearsal that came along")
	}
	for i, text := range []func(*signals.Rehearsal) *string{
		func(r *signals.Rehearsal) *string { return &r.PlanHash }, func(r *signals.Rehearsal) *string { return &r.Database },
		func(r *signals.Rehearsal) *string { return &r.Server }, func(r *signals.Rehearsal) *string { return &r.Cluster },
		func(r *signals.Rehearsal) *string { return &r.By }, func(r *signals.Rehearsal) *string { return &r.Worst },
		func(r *signals.Rehearsal) *string { return &r.Problems[3] }, func(r *signals.Rehearsal) *string { return &r.Statements[9].Step },
		func(r *signals.Rehearsal) *string { return &r.Statements[9].Where }, func(r *signals.Rehearsal) *string { return &r.Statements[9].Verdict },
		func(r *signals.Rehearsal) *string { return &r.Statements[9].Detail },
	} {
		for _, bad := range []string{"a\nb", "a\x1b[2J", "a\u202eb", "a\u2028b", "\x00"} {
			r := full()
			*text(&r) = bad
			require.ErrorContains(t, check(r), "holds a control character", fmt.Sprintf("%d %q", i, bad))
		}
		r := full()
		*text(&r) = strings.Repeat("x", signals.MaxRehearsedProblem+1)
		require.ErrorContains(t, check(r), "holds a text of 301 bytes", i)
	}
}

func TestASummaryNamesWhoRehearsed(t *testing.T) {
	t.Parallel()
	r := signals.Rehearsal{Database: "shop", Server: "15.14", Count: 1}
	require.Equal(t, "on shop 15.14: 1 statement", r.Summary())
	r.By = "dora"
	require.Equal(t, "by dora on shop 15.14: 1 statement", r.Summary())
}
