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

// Until its turn comes, which may be hours, a flag is as the switch has left it.
func TestARollbackSaysThatFlagsAreKilled(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.when("RestoreFlag", play{after: 20 * time.Hour})
	b.after(5*time.Hour, b.say(signals.Rollback))
	b.after(10*time.Hour, func() {
		require.Equal(t, []string{"a"}, b.status().Killed)
		require.Equal(t, []string{"a"}, b.step("write").Killed)
		require.Zero(t, b.step("write").Percent)
		require.Equal(t, "a off by the kill switch; had come to: a at 100 %", b.step("write").Detail)
	})
	b.rollsBack()
	require.Empty(t, b.status().Killed)
	require.Empty(t, b.step("write").Killed)
	require.Equal(t, "a is off again", b.step("write").Detail)
}

func TestAnErrorSaysNothingOfContextsThatAreOut(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	alone := press(30*time.Minute, 7)
	verdict := alone.out.(activities.GuardVerdict)
	verdict.Alone = true
	alone.out = verdict
	b.when("WatchHealth", alone, forever)
	b.when("ApplyFlag first 100", failing(strangerType, "somebody has changed it"), play{})
	b.after(time.Hour+time.Minute, b.say(signals.Resume))
	b.after(3*time.Hour, func() {
		require.Equal(t, signals.StepFailed, b.step("first").State)
		require.Equal(t, "somebody has changed it", b.step("first").Detail)
		require.True(t, b.step("first").Without)
	})
	b.after(4*time.Hour, b.say(signals.Force))
	b.approveAll()
	b.completes()
}

// What is back must not be told as off, because of what was read when it went off.
func TestASecondPressDoesNotTellOfFlagsThatAreBack(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.when("Verify prove", play{}, failing(notProvenType, "the query returned 1"), play{})
	alone := press(5*time.Hour, 8)
	alone.out = activities.GuardVerdict{Outcome: activities.Killed, Kill: 8, Reading: "kill switch pressed by erin: a off for user 2", Alone: true}
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), alone, forever)
	b.after(3*time.Hour, b.say(signals.Resume))
	b.after(10*time.Hour, func() {
		require.Equal(t, "paused: kill switch pressed by erin: a off for user 2; the flags are back by now: `resume` asks again whether what was proved holds, "+
			"then goes on, `rollback` undoes", b.status().Needs)
	})
	b.after(11*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
}

// Who let flags go on again stands in the audit, also where nothing comes of it.
func TestAResumeThatIsTakenBackIsWrittenDown(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.when("Verify prove", play{}, failing(notProvenType, "the query returned 1767"))
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.after(5*time.Hour, b.say(signals.Resume))
	b.after(6*time.Hour, func() {
		require.Equal(t, []string{"paused", "resume"}, b.audited(), "before all is put back and proved")
	})
	b.after(50*time.Hour, b.say(signals.Rollback))
	b.rollsBack()
	require.Equal(t, []string{"paused", "resume", "rollback requested", "resume taken back"}, b.audited())
	require.Equal(t, "dave", b.audit()[1].Actor)
}
