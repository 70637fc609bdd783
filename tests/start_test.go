package tests

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// The name is the example's own: this is the command that people are told to type.
func TestTemporalsOwnCommandLineIsAllItTakes(t *testing.T) {
	t.Parallel()
	b := setup(t, options{name: "split-customer-address"})
	withTemporalsCommandLine(b, `{"plan":"split-customer-address"}`)
}

func TestTemporalsOwnCommandLineMayBringTheWholePlan(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	withTemporalsCommandLine(b, b.document())
}

func withTemporalsCommandLine(b *bundle, input string) {
	t, id := b.t, b.plan.Name
	b.temporalCLI("workflow", "start", "--type", "Migration", "--task-queue", b.queue, "--workflow-id", id, "--input", input)
	for _, step := range []string{"cutover", "contract"} {
		b.eventually("the query tells that "+step+" asks", func() bool {
			var answer struct{ QueryResult []signals.Status }
			c := b.temporalCommand("workflow", "query", "--workflow-id", id, "--type", "status", "--output", "json")
			if c.code() != 0 || json.Unmarshal(c.stdout.Bytes(), &answer) != nil || len(answer.QueryResult) != 1 {
				return false
			}
			a := answer.QueryResult[0].Approval
			return a != nil && a.Step == step
		})
		b.temporalCLI("workflow", "signal", "--workflow-id", id, "--name", "approve", "--input", `{"step":"`+step+`","by":"alice"}`)
	}
	var ended struct {
		Status string
		Result signals.Result
	}
	text := b.temporalCLI("workflow", "result", "--workflow-id", id, "--output", "json")
	require.NoError(t, json.Unmarshal([]byte(text), &ended), text)
	require.Equal(t, "COMPLETED", ended.Status)
	require.Equal(t, ended.Result, b.completes())
	require.Equal(t, b.rows, ended.Result.Rows)
	require.Equal(t, id, ended.Result.Plan)
	require.Len(t, ended.Result.PlanHash, 64)
	require.Less(t, countable(b.history("").Events), maxEvents)
}
