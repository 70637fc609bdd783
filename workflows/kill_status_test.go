package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// A step's line must not say what a flag served before somebody turned it off.
func TestAStepSaysThatItsFlagsAreKilled(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.chat = true
	b.when("WatchHealth", press(150*time.Minute, 7, "b"), forever)
	b.after(149*time.Minute, func() { require.Equal(t, 100, b.step("first").Percent) })
	b.after(3*time.Hour, func() {
		s := b.step("first")
		require.Equal(t, signals.StepStatus{Name: "first", Verb: "flag", State: signals.StepDone, Killed: []string{"b"},
			Detail: "b off by the kill switch; had come to: a and b at 100 %", Started: s.Started, Ended: s.Ended}, s)
		require.Empty(t, b.step("second").Killed)
		require.Contains(t, b.details(), "| first | flag | done | b off by the kill switch; had come to: a and b at 100 % |")
	})
	b.after(4*time.Hour, b.say(signals.Resume))
	b.after(4*time.Hour+time.Minute, func() {
		s := b.step("first")
		require.Equal(t, 100, s.Percent)
		require.Equal(t, "a and b at 100 %", s.Detail)
		require.Empty(t, s.Killed)
	})
	b.approveAll()
	b.completes()
}

func TestAStepSaysThatContextsAreOutOfItsFlags(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.chat = true
	alone := press(150*time.Minute, 7)
	verdict := alone.out.(activities.GuardVerdict)
	verdict.Alone = true
	alone.out = verdict
	b.when("WatchHealth", alone, forever)
	b.after(3*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	for _, name := range []string{"first", "second"} { // what moves later leaves them out as well
		require.True(t, b.step(name).Without)
		require.Contains(t, b.step(name).Detail, " at 100 %, without those for whom the kill switch was pressed")
	}
	card := b.made("PostCard ask")[0].in.(activities.Card)
	require.Equal(t, activities.Evidence{Name: "kill switch", Value: "pressed for contexts by name, which stay in the old shape until they are let in again"},
		card.Evidence[len(card.Evidence)-1], "who approves the next step knows it")
}

func TestACardSaysThatFlagsAreKilled(t *testing.T) {
	t.Parallel()
	m := &migration{state: state{Off: &killing{Flags: []string{"a", "b"}}}}
	require.Equal(t, []activities.Evidence{{Name: "kill switch", Value: "a and b off for everybody"}}, m.pressEvidence())
}
