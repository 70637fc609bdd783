package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// answers says it to one question alone.
func (b *bundle) answers(says string, question int) func() {
	return func() { b.SignalWorkflow(says, signals.Request{By: "dave", Question: question}) }
}

// Two people may answer at once, and what is asked next nobody has seen.
func TestAnAnswerIsOfTheQuestionThatWasSeen(t *testing.T) {
	t.Parallel()
	const other = "force refused: it answers question 1, and question 2 is asked now: look at what the migration needs"
	b := setup(t, planOf(t, pair))
	b.when("ApplyFlag turn dualwrite a", strangers, play{})
	b.when("ApplyFlag turn dualwrite b", strangers, play{})
	b.after(time.Hour, func() { require.Equal(t, 1, b.status().Question) })
	b.after(2*time.Hour, b.answers(signals.Force, 1))
	b.after(2*time.Hour+time.Second, b.answers(signals.Force, 1))
	b.after(3*time.Hour, func() {
		require.Equal(t, signals.Stuck, b.status().State)
		require.Equal(t, 2, b.status().Question)
		require.Equal(t, other, b.notices()[1])
	})
	b.after(4*time.Hour, b.answers(signals.Retry, 2))
	b.approveAll()
	b.completes()
	require.Zero(t, b.status().Question)
	require.Equal(t, []bool{false, true}, b.forces("ApplyFlag turn dualwrite a"))
	require.Equal(t, []bool{false, false}, b.forces("ApplyFlag turn dualwrite b"))
	require.Equal(t, []string{signals.Force, signals.Retry, "approve"}, b.audited())
}

func TestAnAnswerOfTheWayBackIsOfOneStep(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Verify prove", permanent)
	b.when("ResetBackfill", permanent)
	b.when("RestoreFlag write-new", strangers, play{})
	b.after(time.Hour, b.answers(signals.Skip, 1))
	b.after(time.Hour+time.Second, b.answers(signals.Skip, 1))
	b.after(2*time.Hour, b.say(signals.Retry)) // without a number it is of whatever is asked
	report := b.rollsBack()
	require.Equal(t, signals.StepSkipped, report.Compensations[0].Outcome)
	require.Equal(t, signals.StepCompensated, report.Compensations[1].Outcome)
	var steps []string
	for _, e := range b.audit() {
		steps = append(steps, e.Event+" "+e.Step)
	}
	require.Equal(t, []string{"skip fill", "retry write-new"}, steps, "who decided what is in the audit")
}

// A wait of the step and a question beside it are two.
func TestAnAnswerToTheWaitIsNoneToAQuestion(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("MayRetire", forever)
	b.when("WatchHealth", press(2*time.Hour, 7, "a"), forever)
	b.after(time.Hour, func() { require.Equal(t, 1, b.status().Question) })
	b.after(3*time.Hour, func() { b.when("ApplyFlag turn 100", strangers, play{}) })
	b.after(4*time.Hour, b.say(signals.Resume))
	b.after(4*time.Hour+time.Second, b.answers(signals.Skip, 1))
	b.after(5*time.Hour, func() {
		require.Equal(t, signals.Stuck, b.status().State)
		require.Equal(t, 2, b.status().Question)
		b.answers(signals.Retry, 2)()
	})
	b.after(6*time.Hour, func() {
		require.Equal(t, signals.Waiting, b.status().State)
		require.Equal(t, 1, b.status().Question, "it waits as before")
		b.answers(signals.Skip, 1)()
	})
	b.completes()
	require.Equal(t, signals.StepSkipped, b.step("away").State)
}

func TestAWaitIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("MayRetire", forever, forever, play{})
	b.winding["MayRetire away"] = time.Minute
	b.after(time.Hour, b.say(signals.Retry))
	b.after(time.Hour+time.Second, b.say(signals.Skip)) // it winds down
	b.after(2*time.Hour, b.answers(signals.Skip, 1))
	b.after(3*time.Hour, b.answers(signals.Retry, 2))
	b.completes()
	require.Contains(t, b.notices(), "skip refused: it is answered already: retry")
	require.Contains(t, b.notices(), "skip refused: it answers question 1, and question 2 is asked now: look at what the migration needs")
	require.Equal(t, signals.StepDone, b.step("away").State)
}

// What was offered in one run is answered in the next, before that has begun to wait.
func TestAnAnswerBetweenTwoRuns(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.chat = true
	b.when("MayRetire", forever)
	b.suggest(24 * time.Hour)
	next := b.continues()
	next.after(24*time.Hour, next.answers(signals.Skip, 1))
	next.completes()
	require.Equal(t, signals.StepSkipped, next.step("away").State)
	require.Empty(t, next.made("RetireFlag"))
}

// Behind a pause another resume asks again, and what was asked before that is over.
func TestAQuestionOfPuttingBackEndsWithItsResume(t *testing.T) {
	t.Parallel()
	again := press(150*time.Minute, 8, "a")
	for name, c := range map[string]struct {
		says  string
		watch []play
	}{
		"a person pauses":           {signals.Pause, []play{forever}},
		"the kill switch once more": {signals.Throttle, []play{again, forever}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, switched))
			b.when("WatchHealth", append([]play{press(30*time.Minute, 7, "a", "b")}, c.watch...)...)
			b.after(time.Hour, func() { b.when("ApplyFlag first 10", strangers, strangers, play{}) })
			b.after(2*time.Hour, b.say(signals.Resume))
			b.after(150*time.Minute, func() { require.Equal(t, signals.Stuck, b.status().State) })
			b.after(3*time.Hour, b.say(c.says))
			b.after(3*time.Hour+time.Minute, func() {
				require.Equal(t, signals.Paused, b.status().State)
				require.Empty(t, b.status().Answers)
			})
			b.after(4*time.Hour, b.say(signals.Resume))
			b.after(5*time.Hour, b.say(signals.Force))
			b.approveAll()
			b.completes()
			require.Equal(t, []bool{false, true, false}, b.forces("ApplyFlag first 10")[3:], "asked again, and answered once")
		})
	}
}
