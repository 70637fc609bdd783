package tests

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/signals"
)

// impatient is a Temporal that suggests a new run after so few events that a migration needs several.
func impatient(t *testing.T) *temporalserver.Server {
	t.Helper()
	return mortal(t, temporalserver.Options{DynamicConfig: map[string]string{"limit.historyCount.suggestContinueAsNew": "60"}})
}

// runs of the migration, first to last.
func (b *bundle) runs(first string) []string {
	b.t.Helper()
	var runs []string
	for run := first; run != ""; {
		runs = append(runs, run)
		events := b.history(run).Events
		run = events[len(events)-1].GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
	}
	return runs
}

func TestAMigrationOverSeveralRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, options{at: impatient(t), slow: true})
	applied := b.watchFlags()
	b.stopAt(0.5)
	run := b.migrate()
	b.stopped()
	b.crashWorker()
	b.stopAt(1)
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
	require.Greater(t, len(b.runs(run.GetRunID())), 2)
	require.Equal(t, slices.Concat(stages, archived), applied(), "each change once")
	require.Equal(t, int64(1), b.count(`select count(distinct run_id) from contraflow.audit`))
	b.keep("continue", run.GetRunID())
}

func TestARollbackOverSeveralRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, options{at: impatient(t)})
	run := b.migrate()
	b.approve("cutover")
	b.asks("contract")
	b.say(signals.Rollback, signals.Request{By: "dave"})
	requireUndone(t, undone, b.rollsBack())
	b.requireRolledBack()
	require.Greater(t, len(b.runs(run.GetRunID())), 1)
}

// While runs end and begin, two hundred things are said. Each is in the audit, or refused with a reason.
func TestNoSignalIsLostBetweenTwoRuns(t *testing.T) {
	t.Parallel()
	const caps, pauses = 100, 50
	b := setup(t, options{at: impatient(t), slow: true})
	run := b.migrate()
	b.begins("fill")
	for i := range caps {
		b.say(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 1_000_000 + i, By: fmt.Sprintf("person %d", i)})
		if i%2 == 0 {
			b.say(signals.Pause, signals.Request{By: fmt.Sprintf("person %d", i)})
			b.say(signals.Resume, signals.Request{By: fmt.Sprintf("person %d", i)})
		}
	}
	b.reaches("nobody holds it any more", func(s signals.Status) bool {
		if s.State != signals.Paused {
			return true
		}
		// Of a pause and a resume that arrive together, the pause counts. What can't be said now is said again.
		_ = b.temporal.SignalWorkflow(b.t.Context(), b.plan.Name, "", signals.Resume, signals.Request{By: "last"})
		return false
	})
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
	require.Greater(t, len(b.runs(run.GetRunID())), 2) // how many more depends on how many signals the worker hears at once

	require.Equal(t, int64(caps), b.count(`select count(distinct actor) from contraflow.audit where event = 'throttled'`))
	paused := b.count(`select count(*) from contraflow.audit where event = 'paused'`)
	require.Equal(t, paused, b.count(`select count(*) from contraflow.audit where event = 'resumed'`))
	refused := int64(0)
	for _, m := range b.chat.Messages() {
		if contains(m.Text, "pause by person", "refused: it is paused already") {
			refused++
		}
	}
	require.Equal(t, int64(pauses), paused+refused, "%d were heard, %d refused", paused, refused)
}
