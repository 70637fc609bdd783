package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

func failing(kind, text string) play {
	return play{err: temporal.NewNonRetryableApplicationError(text, kind, nil)}
}

var strangers = failing(strangerType, `flag k was left "on: 10 % true" and is "off"`)

// forces are what the calls with this key said about force.
func (b *bundle) forces(key string) []bool {
	var forces []bool
	for _, c := range b.made(key) {
		forces = append(forces, c.in.(activities.FlagInput).Force)
	}
	return forces
}

func TestAStrangersFlagIsAskedAboutOnTheWayForward(t *testing.T) {
	t.Parallel()
	const question = `step write-new: flag k was left "on: 10 % true" and is "off"; ` +
		"`retry` looks at the flag again, `force` goes on from what stands there now (a rollback later still puts back what was there " +
		"before this migration), `skip` leaves it as it is and goes on without this step: only your checks and proofs tell whether what " +
		"follows can live with that; `rollback` undoes"
	for says, c := range map[string]struct {
		forces, after []bool
		state         signals.StepState
		evidence      string
	}{
		signals.Retry: {[]bool{false, false}, []bool{false}, signals.StepDone, "customers-write-new at 100 %"},
		signals.Force: {[]bool{false, true}, []bool{false}, signals.StepDone, `forced: flag k was left "on: 10 % true" and is "off"`},
		signals.Skip:  {[]bool{false}, nil, signals.StepSkipped, `skipped: flag k was left "on: 10 % true" and is "off"`},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.chat = true
			b.when("ApplyFlag write-new 50", strangers, play{})
			b.after(time.Hour, func() {
				s := b.status()
				require.Equal(t, signals.Stuck, s.State)
				require.Equal(t, question, s.Needs)
				require.Equal(t, []string{"retry", "force", "skip"}, s.Answers)
				require.Equal(t, signals.StepFailed, b.step("write-new").State)
				require.Equal(t, 10, b.step("write-new").Percent)
				require.Empty(t, b.made("PrepareBackfill"))
			})
			b.after(2*time.Hour, b.say(says))
			b.approveAll()
			b.completes()
			require.Empty(t, b.compensations())
			require.Empty(t, b.status().Answers)
			require.Equal(t, c.forces, b.forces("ApplyFlag write-new 50"))
			require.Equal(t, c.after, b.forces("ApplyFlag write-new 100"), "it was about that stage alone")
			require.Len(t, b.made("ApplyFlag write-new 10"), 1, "a stage that is done is not done again")
			require.Equal(t, c.state, b.step("write-new").State)
			require.Equal(t, question, b.made("PostNotice stuck")[0].in.(activities.NoticeInput).Text)
			require.Contains(t, b.made("PostCard cutover")[0].in.(activities.Card).Evidence,
				activities.Evidence{Name: "write-new", Value: c.evidence}, "who decides next knows")
			require.Equal(t, says, b.audited()[0])
		})
	}
}

// Where force can't help it is not offered, and the way that has been gone is not undone either.
func TestARefusedFlagIsAskedAbout(t *testing.T) {
	t.Parallel()
	refused := failing(refusedType, "flag k is gone: make it again")
	for says, state := range map[string]signals.StepState{signals.Retry: signals.StepDone, signals.Skip: signals.StepSkipped} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.when("ApplyFlag write-new 50", refused, play{})
			b.after(time.Hour, func() {
				require.Equal(t, "step write-new: flag k is gone: make it again; `retry` looks at the flag again, `skip` leaves it as it is and goes on "+
					"without this step: only your checks and proofs tell whether what follows can live with that; `rollback` undoes", b.status().Needs)
				require.Equal(t, []string{signals.Retry, signals.Skip}, b.status().Answers)
			})
			b.after(2*time.Hour, b.say(says))
			b.approveAll()
			b.completes()
			require.Equal(t, state, b.step("write-new").State)
		})
	}
}

func TestAQuestionOnTheWayForwardIsNoPrison(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		leave func(*bundle)
		cause string
	}{
		"a person asks for a rollback": {func(b *bundle) { b.after(2*time.Hour, b.say(signals.Rollback)) }, "rollback requested by dave"},
		"Temporal cancels":             {func(b *bundle) { b.after(2*time.Hour, b.CancelWorkflow) }, "cancelled"},
		"a health check fails": {func(b *bundle) {
			b.when("WatchHealth", play{after: 2 * time.Hour, out: activities.GuardVerdict{Outcome: activities.Unhealthy, Check: "shop answers", Reading: "500"}}, forever)
		}, `health check "shop answers" failed: 500`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.when("ApplyFlag write-new 50", strangers)
			b.after(time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
			c.leave(b)
			require.Equal(t, c.cause, b.rollsBack().Cause)
			require.Equal(t, undone[2:], b.compensations())
		})
	}
}

func TestForceIsNoAnswerToEveryQuestion(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Verify prove", permanent)
	b.when("ResetBackfill", permanent, play{})
	b.after(time.Hour, func() { require.Equal(t, []string{"retry", "skip"}, b.status().Answers) })
	b.after(2*time.Hour, b.say(signals.Force))
	b.after(3*time.Hour, func() { require.Equal(t, signals.Stuck, b.status().State) })
	b.after(4*time.Hour, b.say(signals.Retry))
	b.rollsBack()
	require.Equal(t, "force refused: it is no answer to what the migration asks now: say retry or skip", b.notices()[0])
	require.Equal(t, []string{"retry"}, b.audited())
}

func TestForceOutlivesTheRunThatHeardIt(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("ApplyFlag write-new 50", strangers, forever, play{}) // and then the service does not answer
	b.after(time.Hour, b.say(signals.Force))
	b.suggest(2 * time.Hour)
	next := b.continues()
	require.Equal(t, []bool{false, true}, b.forces("ApplyFlag write-new 50"))
	next.approveAll()
	next.completes()
	require.Equal(t, []bool{true}, next.forces("ApplyFlag write-new 50"))
	require.Equal(t, []bool{false}, next.forces("ApplyFlag write-new 100"))
}

func TestAStrangersFlagBehindThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, behind))
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.when("ApplyFlag turn", strangers, play{})
	b.after(time.Hour, func() {
		require.Equal(t, []string{"retry", "force", "skip"}, b.status().Answers)
		require.NotContains(t, b.status().Needs, "; `rollback` undoes")
	})
	b.after(2*time.Hour, b.say(signals.Rollback))
	b.after(3*time.Hour, b.say(signals.Force))
	b.whenAsked("again", func() { b.approve("again", "alice") })
	b.completes()
	require.Equal(t, []bool{false, true}, b.forces("ApplyFlag turn"))
	require.Equal(t, "rollback refused: the point of no return has passed", b.notices()[0])
}

// pair is a plan with flags that move together.
const pair = `
name: pair
database: shop
migrations: migrations
flags: {project: shop, environment: production}
steps:
  - {name: expand, migrate: {to: 2}}
  - {name: turn, flag: {keys: [a, b], stages: [dualwrite, live], soak: 1h}}
  - {name: prove, verify: {query: "select 0", max: 0}}
  - {name: ask, approve: {by: [alice, bob]}}
`

func TestAStrangersFlagInACompensation(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]struct {
		forces []bool
		state  signals.StepState
		detail string
	}{
		signals.Retry: {[]bool{false, false}, signals.StepCompensated, "b is off again; a is off again"},
		signals.Force: {[]bool{false, true}, signals.StepCompensated, "b is off again; a is off again"},
		signals.Skip:  {[]bool{false}, signals.StepSkipped, `b is off again; a is left as it is: flag k was left "on: 10 % true" and is "off"`},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, pair))
			b.when("Verify prove", permanent)
			b.when("RestoreFlag turn a", strangers, play{})
			b.after(5*time.Hour, func() {
				require.Equal(t, `undoing step turn fails: flag k was left "on: 10 % true" and is "off"; `+
					"`retry` looks again, `force` puts what was there before over it, `skip` leaves flag a as it is and goes on", b.status().Needs)
				require.Equal(t, []string{"retry", "force", "skip"}, b.status().Answers)
			})
			b.after(6*time.Hour, b.say(says))
			report := b.rollsBack()
			require.Equal(t, signals.Compensated{Step: "turn", Outcome: c.state, Detail: c.detail}, report.Compensations[0])
			require.Equal(t, c.forces, b.forces("RestoreFlag turn a"))
			require.Equal(t, []bool{false}, b.forces("RestoreFlag turn b"), "the other one is back, and left alone")
			require.Equal(t, c.state == signals.StepSkipped, b.step("turn").Stage == "live", "what stands there is told")
		})
	}
}

// What is given up is one flag. The schema goes back next, so those that moved with it must not stay where they were.
func TestALeftFlagKeepsNoOtherFromGoingBack(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]play{"a stranger's": strangers, "one that can't be put back": permanent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, pair))
			b.when("Verify prove", permanent)
			b.when("RestoreFlag turn b", failure)
			b.after(5*time.Hour, func() { require.Contains(t, b.status().Needs, "`skip` leaves flag b as it is and goes on") })
			b.after(6*time.Hour, b.say(signals.Skip))
			report := b.rollsBack()
			require.Equal(t, []string{"RestoreFlag turn b", "RestoreFlag turn a", "MigrateDown expand"}, b.compensations())
			detail := "b is left as it is: " + reason(failure.err) + "; a is off again"
			require.Equal(t, signals.Compensated{Step: "turn", Outcome: signals.StepSkipped, Detail: detail}, report.Compensations[0])
			require.Equal(t, signals.StepSkipped, b.step("turn").State)
			require.Equal(t, "live", b.step("turn").Stage)
		})
	}
}

func TestAFlagThatWasForcedForcesNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, pair))
	b.when("Verify prove", permanent)
	b.when("RestoreFlag turn b", strangers)
	b.after(5*time.Hour, b.say(signals.Force))
	b.after(6*time.Hour, b.say(signals.Skip))
	b.rollsBack()
	require.Equal(t, []bool{false, true}, b.forces("RestoreFlag turn b"))
	require.Equal(t, []bool{false}, b.forces("RestoreFlag turn a"))
}

// A stranger's schema version is a failure like others: nobody can be asked to go on from there.
func TestOnlyFlagsOfStrangersAreForced(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Migrate expand", failing(strangerType, "somebody has applied version 7"))
	require.Equal(t, "step expand: somebody has applied version 7", b.rollsBack().Cause)
}

func TestForceOnTheWayForwardIsNoneOnTheWayBack(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("ApplyFlag write-new 50", strangers, forever)
	b.after(time.Hour, b.say(signals.Force))
	b.after(2*time.Hour, b.say(signals.Rollback))
	b.rollsBack()
	require.Equal(t, []bool{false, true}, b.forces("ApplyFlag write-new 50"))
	require.Equal(t, []bool{false}, b.forces("RestoreFlag write-new"))
}
