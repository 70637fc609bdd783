package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/watch"
	"github.com/contraflow/contraflow/signals"
)

func TestOurCommandLineFromStartToEnd(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	id := b.plan.Name
	require.Contains(t, b.contraflow(0, "validate", b.planFile()), id)

	waiting := b.command(binaries.cli, "start", b.planFile(), "--by", "carol", "--task-queue", b.queue, "--wait")
	b.asks("cutover")
	require.Contains(t, b.contraflow(1, "start", b.planFile(), "--task-queue", b.queue), "running already")
	require.Contains(t, b.contraflow(1, "start", id, "--task-queue", b.queue), "running already")

	b.eventually("mallory may not decide", func() bool { // where no worker answers in time he is queued, and harms nothing
		c := b.command(binaries.cli, "approve", id, "cutover", "--by", "mallory")
		return c.code() == 1 && contains(c.stderr.String(), "mallory may not decide")
	})
	require.Regexp(t, "Said pause|Temporal keeps pause", b.contraflow(0, "pause", id, "--by", "dave", "--reason", "lunch"))
	b.reaches("it is paused", func(s signals.Status) bool { return s.State == signals.Paused })
	b.statusSays("why it is paused", "paused by dave: lunch")
	require.Regexp(t, "step cutover: decided|Queued: no worker answers now", b.contraflow(0, "approve", id, "cutover", "--by", "alice"))
	held := b.reaches("the step has ended", func(s signals.Status) bool { return step(s, "cutover").State == signals.StepDone })
	require.Equal(t, signals.Paused, held.State)
	require.Equal(t, signals.StepPending, step(held, "read-new").State)
	require.Contains(t, b.contraflow(0, "list"), id)

	b.contraflow(0, "resume", id)
	b.asks("contract")
	b.contraflow(0, "approve", id, "contract", "--by", "bob")
	require.Zero(t, waiting.code(), "%s%s", &waiting.stdout, &waiting.stderr)
	require.Contains(t, waiting.stdout.String(), "completed")
	b.completes()

	var s watch.Snapshot
	require.NoError(t, json.Unmarshal([]byte(b.contraflow(0, "status", id, "--json")), &s))
	require.Equal(t, watch.Completed, s.Outcome)
	require.Equal(t, b.rows, s.Result.Rows)
	require.Contains(t, b.contraflow(1, "approve", id, "contract", "--by", "bob"), "is over")
}

func TestOurCommandLineUndoesAndSaysSo(t *testing.T) {
	t.Parallel()
	for verb, args := range map[string][]string{
		"reject":   {"cutover", "--by", "alice", "--reason", "not on a Friday"},
		"rollback": {"--by", "dave", "--reason", "not on a Friday"},
	} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			b := setup(t, options{})
			waiting := b.command(binaries.cli, "start", b.plan.Name, "--by", "carol", "--task-queue", b.queue, "--wait")
			b.asks("cutover")
			b.contraflow(0, append([]string{verb, b.plan.Name}, args...)...)
			require.Equal(t, 3, waiting.code(), "%s%s", &waiting.stdout, &waiting.stderr)
			require.Contains(t, waiting.stdout.String(), "not on a Friday")
			b.requireRolledBack()
		})
	}
}

func TestABadPlanIsRefusedBeforeItTravels(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	file := filepath.Join(b.folder, "bad.yaml")
	require.NoError(t, os.WriteFile(file, []byte("name: bad\ndatabase: shop\nsteps:\n  - name: one\n    migrat: {to: 2}\n"), 0o600))
	for _, verb := range [][]string{{"validate"}, {"start", "--task-queue", b.queue}} {
		said := b.contraflow(2, append(verb, file)...)
		require.Contains(t, said, "bad.yaml:5")
		require.Contains(t, said, "migrat")
	}
	require.Contains(t, b.contraflow(1, "status", "bad"), "no such migration")
	b.requireUntouched()
}
