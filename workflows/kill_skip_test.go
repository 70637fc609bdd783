package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func keysAndFlags(calls []call) (all []string) {
	for _, c := range calls {
		all = append(all, c.key+" "+flagsOf([]call{c})[0])
	}
	return all
}

// A step that was given up has brought its flags on all the same, as far as it came; but not the one that a stranger holds.
func TestFlagsOfASkippedStepComeBackToWhereItHadCome(t *testing.T) {
	t.Parallel()
	t.Run("one was left to a stranger", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.when("ApplyFlag first 100", play{}, strangers, play{})
		b.after(3*time.Hour, b.say(signals.Skip))
		b.when("WatchHealth", press(3*time.Hour+30*time.Minute, 7, "a", "b", "c"), forever)
		b.after(6*time.Hour, b.say(signals.Resume))
		b.approveAll()
		b.completes()
		require.Equal(t, []string{"ApplyFlag first 100 a", "ApplyFlag second 50 c", "ApplyFlag second 100 c"}, keysAndFlags(b.applied(6*time.Hour)))
		require.Contains(t, b.notices(), "the kill switch stays with b: no step of this migration has brought it on, or people left it as it was")
	})
	t.Run("an earlier step had brought it less far", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.plan.Steps[1].Flag.Rollout = []int{10}
		b.plan.Steps[2].Flag = &plan.Flag{Keys: []string{"a", "c"}, Rollout: []int{50, 100}, Soak: b.plan.Steps[2].Flag.Soak}
		b.when("ApplyFlag second 100", play{}, strangers, play{})
		b.after(3*time.Hour, b.say(signals.Skip))
		b.when("WatchHealth", press(3*time.Hour+30*time.Minute, 7, "a"), forever)
		b.after(6*time.Hour, b.say(signals.Resume))
		b.after(7*time.Hour, func() { b.approve("ask", "alice") })
		b.completes()
		back := keysAndFlags(b.applied(6 * time.Hour))
		require.Equal(t, "ApplyFlag second 100 a", back[len(back)-1])
	})
	t.Run("behind the point of no return, in a soak", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, behind))
		turn := &b.plan.Steps[b.plan.StepIndex("turn")]
		turn.Timeout, turn.Flag.Soak = plan.Duration(30*time.Minute), plan.Duration(time.Hour)
		b.after(3*time.Hour, b.say(signals.Skip))
		b.when("WatchHealth", press(4*time.Hour, 7, "k"), forever)
		b.after(7*time.Hour, b.say(signals.Resume))
		b.after(7*time.Hour+time.Minute, func() { b.approve("again", "alice") })
		b.whenAsked("ask", func() { b.approve("ask", "alice") })
		b.completes()
		require.Equal(t, []string{"ApplyFlag turn 100 k"}, keysAndFlags(b.applied(7*time.Hour)))
	})
}

// What a step that was given up has archived is gone.
func TestWhatASkippedStepHasArchivedIsNotPutBack(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring+"  - {name: rest, soak: 10h}\n"))
	b.plan.Steps[0].Flag.Keys, b.plan.Steps[0].Flag.Key = []string{"a", "b"}, ""
	b.when("RetireFlag away b", permanent)
	b.after(time.Hour, b.say(signals.Skip))
	b.when("WatchHealth", press(2*time.Hour, 7, "a", "b"), forever)
	b.after(6*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, []string{"b"}, flagsOf(b.applied(6*time.Hour)))
}

// A flag that its step is about to bring on does not stay off.
func TestTheKillSwitchDoesNotStayWithWhatIsStillToMove(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("ApplyFlag first 10", play{after: time.Hour}, play{after: time.Hour, err: failing(killedType, "pressed").err}, play{})
	b.when("WatchHealth", press(90*time.Minute, 7, "a", "b", "c"), forever)
	b.after(6*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Equal(t, []string{"a", "b", "a", "b", "c", "c"}, flagsOf(b.applied(6*time.Hour)))
	require.Empty(t, b.notices())
}
