package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/signals"
)

// What has arrived while no worker answered is heard at once, and in which order it was said can't be told.
func TestAPauseHasTheLastWord(t *testing.T) {
	t.Parallel()
	for _, says := range [][]string{{signals.Resume, signals.Pause}, {signals.Pause, signals.Resume}} {
		b := setup(t, example(t))
		b.when("Begin", play{after: time.Minute})
		for i, name := range says {
			b.after(time.Duration(i+1)*time.Second, b.say(name))
		}
		b.after(time.Hour, func() {
			require.Equal(t, signals.Paused, b.status().State, "%v", says)
			require.Empty(t, b.made("Migrate"))
			b.say(signals.Rollback)()
		})
		b.rollsBack()
	}
}

func TestOfSeveralAnswersTheMildestCounts(t *testing.T) {
	t.Parallel()
	p := planOf(t, retiring)
	p.Steps = p.Steps[1:]
	c, queue := temporaltest.Client(t), temporaltest.TaskQueue(t)
	w := &target{plan: p, inUse: inUse.err}
	stop := w.serve(t, c, queue)
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: queue, TaskQueue: queue}, signals.Workflow,
		signals.Input{Name: p.Name, StartedBy: "carol"})
	require.NoError(t, err)
	awaitStatus(t, c, run, func(s signals.Status) bool { return s.State == signals.Stuck })
	stop()
	for _, says := range []string{signals.Skip, signals.Force, signals.Retry} {
		require.NoError(t, c.SignalWorkflow(t.Context(), run.GetID(), "", says, signals.Request{By: "dave"}))
	}
	w.serve(t, c, queue)
	require.Eventually(t, func() bool {
		return len(slices.DeleteFunc(w.noted(), func(key string) bool { return key != "MayRetire away" })) == 2
	}, time.Minute, 50*time.Millisecond, "it is looked at again")
	awaitStatus(t, c, run, func(s signals.Status) bool {
		return len(s.Notices) >= 2 && s.Notices[0].Text == "force refused: it is answered already: retry" &&
			s.Notices[1].Text == "skip refused: it is answered already: retry"
	})
	require.NotContains(t, w.noted(), "RetireFlag away a")
	require.NoError(t, replayed(historyOf(t, c, run)))
}
