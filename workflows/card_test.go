package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// says is what the latest card of an approval tells by these names.
func (b *bundle) says(names ...string) map[string][]string {
	said := map[string][]string{}
	for _, c := range b.calls {
		card, ok := c.in.(activities.Card)
		if !ok {
			continue
		}
		clear(said)
		for _, name := range names {
			for _, e := range card.Evidence {
				if e.Name == name {
					said[name] = append(said[name], e.Value)
				}
			}
		}
	}
	return said
}

// Who approves must not decide by what was true before somebody pressed.
func TestAnOpenCardFollowsThePress(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.chat = true
	b.when("Verify prove", play{}, failing(notProvenType, "the query returned 1767"), play{})
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	says := func(at time.Duration, prove, killed string, state signals.StepState, detail string) {
		b.after(at, func() {
			want := map[string][]string{"prove": {prove}}
			if killed != "" {
				want[killSwitch] = []string{killed}
			}
			require.Equal(t, want, b.says("prove", killSwitch), "%s", at)
			step := b.step("prove")
			require.Equal(t, state, step.State, "%s", at)
			require.Equal(t, detail, step.Detail, "%s", at)
		})
	}
	const lost = "does not hold any more: the query returned 1767"
	says(80*time.Minute, "0 (at most 0)", "", signals.StepDone, "the query returned 0")
	says(2*time.Hour, "0 (at most 0), before the kill switch was pressed", "a off for everybody",
		signals.StepDone, "the query returned 0, before the kill switch was pressed")
	b.after(5*time.Hour, b.say(signals.Resume))
	says(6*time.Hour, lost, "the flags are back; nothing goes on before what was proved holds", signals.StepFailed, lost)
	b.after(7*time.Hour, b.say(signals.Force))
	says(8*time.Hour, "forced: "+lost, "", signals.StepDone, "forced: "+lost)
	b.after(8*time.Hour, func() {
		cards := b.made("UpdateCard ask waiting")
		require.Equal(t, b.status().Approval.Deadline, cards[len(cards)-1].in.(activities.Card).Approval.Deadline, "it stood still meanwhile")
	})
	b.after(9*time.Hour, func() { b.approve("ask", "alice") })
	b.completes()
	require.Len(t, b.made("PostCard"), 1)
	require.Len(t, b.made("UpdateCard ask approved"), 1)
}

func TestAProofThatHoldsAgainStandsOnTheOpenCard(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.chat = true
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.after(5*time.Hour, b.say(signals.Resume))
	b.after(6*time.Hour, func() {
		require.Equal(t, map[string][]string{"prove": {"0 (at most 0), asked again behind the kill switch"}}, b.says("prove", killSwitch))
		require.Equal(t, "the query returned 0, asked again behind the kill switch", b.step("prove").Detail)
		b.approve("ask", "alice")
	})
	b.completes()
}

// Pressed for one context nothing is off for everybody, and the card still says that nobody has resumed.
func TestAnOpenCardFollowsAPressForOneContext(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.chat = true
	alone := press(90*time.Minute, 7)
	verdict := alone.out.(activities.GuardVerdict)
	verdict.Alone = true
	alone.out = verdict
	b.when("WatchHealth", alone, forever)
	const out = "pressed for contexts by name, which stay in the old shape until they are let in again"
	b.after(2*time.Hour, func() {
		require.Equal(t, []string{"pressed, and nobody has resumed since", out}, b.says(killSwitch)[killSwitch])
	})
	b.after(5*time.Hour, b.say(signals.Resume))
	b.after(6*time.Hour, func() {
		require.Equal(t, []string{out}, b.says(killSwitch)[killSwitch])
		b.approve("ask", "alice")
	})
	b.completes()
}

// A card that is shown anew has buttons: behind the decision it must not come.
func TestADecidedCardGetsItsButtonsNotBack(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.chat = true
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.when("UpdateCard ask waiting", forever)
	b.winding["UpdateCard ask waiting"] = 10 * time.Second
	b.after(2*time.Hour, func() { b.approve("ask", "alice") })
	b.after(5*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Len(t, b.made("UpdateCard ask waiting"), 1)
	require.Equal(t, []time.Duration{2*time.Hour + 10*time.Second}, times(b.made("ended UpdateCard ask waiting")))
	require.Equal(t, []time.Duration{2*time.Hour + 10*time.Second}, times(b.made("UpdateCard ask approved")))
}

func TestASilentChatThatMissesAPressHoldsNothingUp(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.chat, b.silent = true, true
	b.when("UpdateCard", fleeting)
	b.when("PostNotice", fleeting)
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.after(100*time.Minute, b.say(signals.Resume))
	b.after(2*time.Hour, func() { b.approve("ask", "alice") })
	b.completes()
	require.Equal(t, 2*time.Hour, b.made("ApplyFlag read")[0].at)
}

// What the card could not be told goes along to the new run.
func TestNewRunShowsTheOpenCardAnew(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.chat = true
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.when("UpdateCard", forever)
	b.after(2*time.Hour, func() {
		b.SetContinueAsNewSuggested(true)
		b.SignalWorkflow(signals.Pause, signals.Request{})
	})
	next := b.continues()
	next.when("UpdateCard", play{})
	next.after(3*time.Hour, func() {
		require.Equal(t, []string{"a off for everybody"}, next.says(killSwitch)[killSwitch])
		require.Empty(t, next.made("PostCard"))
	})
	next.after(4*time.Hour, next.say(signals.Resume))
	next.after(5*time.Hour, func() { next.approve("ask", "alice") })
	next.completes()
}
