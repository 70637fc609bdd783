package workflows

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// retiring is a plan that retires its flags without having passed the point of no return.
const retiring = `
name: retiring
database: shop
flags: {project: shop, environment: production}
steps:
  - {name: turn, flag: {key: a, soak: 1m}}
  - {name: away, retire: {flags: [a, b], otherwise: wait, code: [app]}}
`

var inUse = failing(inUseType, "flag a is active, asked for 1 min ago\nflag a is a prerequisite of c")

func TestFlagsInUseAreAskedAboutBeforeAnyIsArchived(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]struct {
		looks  int
		forces []bool
		state  signals.StepState
	}{
		signals.Retry: {2, []bool{false, false}, signals.StepDone},
		signals.Force: {1, []bool{true, true}, signals.StepDone},
		signals.Skip:  {1, nil, signals.StepSkipped},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, retiring))
			b.when("MayRetire", inUse, play{out: activities.Retirable{Notes: []string{"nobody hears of b"}}})
			b.after(time.Hour, func() {
				s := b.status()
				require.Equal(t, signals.Stuck, s.State)
				require.Equal(t, "step away: flag a is active, asked for 1 min ago\nflag a is a prerequisite of c; "+
					"`retry` looks again, `force` archives all the same, `skip` goes on and leaves the flags there; `rollback` undoes", s.Needs)
				require.Contains(t, b.details(), "| away | retire | failed | flag a is active, asked for 1 min ago; flag a is a prerequisite of c |")
				require.Empty(t, b.made("RetireFlag"))
			})
			b.after(2*time.Hour, b.say(says))
			b.completes()
			require.Len(t, b.made("MayRetire"), c.looks)
			require.Equal(t, c.forces, b.forces("RetireFlag away"))
			require.Equal(t, c.state, b.step("away").State)
			if says == signals.Retry {
				require.Contains(t, b.notices(), "nobody hears of b")
				require.Equal(t, b.plan.Steps[1].Retire, new(b.made("MayRetire")[0].in.(activities.RetireInput).Retire))
			}
		})
	}
}

func TestRollbackIsPossibleUntilAFlagIsArchived(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]play{"while it waits": forever, "while it is asked": inUse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, retiring))
			b.when("MayRetire", c)
			b.after(24*time.Hour, b.say(signals.Rollback))
			b.rollsBack()
			require.Equal(t, []string{"RestoreFlag turn a"}, b.compensations())
			require.Empty(t, b.made("RetireFlag"))
		})
	}
	t.Run("and not behind it", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, retiring))
		b.when("RetireFlag away b", play{after: time.Hour})
		b.after(30*time.Minute, b.say(signals.Rollback))
		b.completes()
		require.Equal(t, []string{"rollback refused: the point of no return has passed"}, b.notices())
	})
}

func TestPauseWhileFlagsAreInUse(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("MayRetire", play{after: 24 * time.Hour}, play{})
	b.after(time.Hour, b.say(signals.Pause))
	b.after(2*time.Hour, func() { require.Equal(t, signals.Paused, b.status().State) })
	b.after(48*time.Hour, func() { require.Empty(t, b.made("RetireFlag")) })
	b.after(72*time.Hour, b.say(signals.Resume))
	b.completes()
	looks := b.made("MayRetire")
	require.Len(t, looks, 2)
	require.Equal(t, 72*time.Hour, looks[1].at, "days after the first one")
	require.Equal(t, 72*time.Hour, b.made("RetireFlag")[0].at)
}

func TestPauseBetweenFlags(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("RetireFlag away a", play{after: time.Hour})
	b.after(30*time.Minute, b.say(signals.Pause))
	b.after(72*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, 72*time.Hour, b.made("RetireFlag away b")[0].at)
	require.Equal(t, []string{"b"}, b.made("MayRetire")[1].in.(activities.RetireInput).Retire.Flags, "what is left is looked at again")
}

func TestHeldAndLetGoWithinOneArchiving(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("RetireFlag away a", play{after: 72 * time.Hour})
	b.after(time.Hour, b.say(signals.Pause))
	b.after(71*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Len(t, b.made("MayRetire"), 2)
	require.Equal(t, 72*time.Hour+time.Minute, b.made("MayRetire")[1].at)
}

// Whoever forced it did not know that flags would be put back, and used again.
func TestAKillEndsWhatWasForced(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"a", "b"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, strings.Replace(retiring, "key: a", "keys: [a, b]", 1)))
			b.when("MayRetire", inUse, play{})
			b.after(time.Hour, b.say(signals.Force))
			b.when("RetireFlag away "+at, failing(killedType, "the kill switch was pressed"), play{})
			b.when("WatchHealth", press(2*time.Hour, 7, "a", "b"), forever)
			b.after(72*time.Hour, b.say(signals.Resume))
			b.completes()
			archived := b.made("RetireFlag away " + at)
			require.True(t, archived[0].in.(activities.FlagInput).Force)
			require.False(t, archived[1].in.(activities.FlagInput).Force)
			require.Len(t, b.made("MayRetire"), 2)
		})
	}
}

func TestKillBetweenFlags(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, strings.Replace(retiring, "key: a", "keys: [a, b]", 1)))
	b.when("WatchHealth", press(30*time.Minute, 7, "b"), forever)
	b.when("RetireFlag away a", play{after: time.Hour})
	b.after(25*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, []string{"b"}, flagsOf(b.applied(25*time.Hour)), "put back first")
	archived := b.made("RetireFlag away b")
	require.Len(t, archived, 1)
	require.GreaterOrEqual(t, archived[0].at, 25*time.Hour)
	require.EqualValues(t, 7, archived[0].in.(activities.FlagInput).Kills)
}

func TestAKillBeforeTheFirstFlagLeavesTheRollback(t *testing.T) {
	t.Parallel()
	for says, looks := range map[string]int{signals.Rollback: 1, signals.Resume: 2} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, retiring))
			b.when("WatchHealth", press(30*time.Minute, 7, "a"), forever)
			b.when("MayRetire", play{after: 20 * time.Minute}, play{})
			b.when("RetireFlag away a", failing(killedType, "the kill switch was pressed"), play{})
			b.after(2*time.Hour, b.say(says))
			if says == signals.Rollback {
				b.rollsBack()
				require.Len(t, b.made("RetireFlag"), 1)
			} else {
				b.completes()
				require.Len(t, b.made("RetireFlag"), 3)
			}
			require.Len(t, b.made("MayRetire"), looks)
		})
	}
}

// A token that may not read a flag's status is no reason to undo what has been done.
func TestALookThatFailsIsAskedAbout(t *testing.T) {
	t.Parallel()
	for says, state := range map[string]signals.StepState{signals.Retry: signals.StepDone, signals.Skip: signals.StepSkipped} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, retiring))
			b.when("MayRetire", failing("Flag", "403"), play{})
			b.after(time.Hour, func() {
				require.Equal(t, "step away: 403; `retry` tries it again, `skip` goes on and leaves the flags there; `rollback` undoes", b.status().Needs)
				require.Equal(t, []string{signals.Retry, signals.Skip}, b.status().Answers)
			})
			b.after(2*time.Hour, b.say(says))
			b.completes()
			require.Empty(t, b.compensations())
			require.Equal(t, state, b.step("away").State)
		})
	}
	t.Run("a timeout of the step is none", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, retiring))
		b.plan.Steps[1].Timeout = plan.Duration(time.Hour)
		b.when("MayRetire", forever)
		require.Equal(t, "step away: not done within its timeout of 1h0m0s", b.rollsBack().Cause)
	})
}

// Archiving looks once more, and what it refuses leaves the rollback open.
func TestAFlagThatIsInUseAgainLeavesTheRollback(t *testing.T) {
	t.Parallel()
	for says, end := range map[string]func(*bundle){
		signals.Rollback: func(b *bundle) { b.rollsBack() },
		signals.Retry:    func(b *bundle) { b.completes() },
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, retiring))
			b.when("RetireFlag away a", inUse, play{})
			b.after(time.Hour, func() {
				require.Contains(t, b.status().Needs, "`force` archives all the same, `skip` goes on and leaves the flags there; `rollback` undoes")
			})
			b.after(2*time.Hour, b.say(says))
			end(b)
			require.Equal(t, says == signals.Rollback, len(b.made("RestoreFlag")) == 1)
		})
	}
	t.Run("not behind the first one that is archived", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, retiring))
		b.when("RetireFlag away b", inUse, play{})
		b.after(time.Hour, b.say(signals.Rollback))
		b.after(2*time.Hour, b.say(signals.Retry))
		b.completes()
		require.Equal(t, "rollback refused: the point of no return has passed", b.notices()[0])
	})
}

// What was forced for all flags, and failed at the second for another reason, can be forced again.
func TestAFlagThatIsLeftIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("MayRetire", inUse)
	b.when("RetireFlag away b", failing("Flag", "not authorized"), play{})
	b.after(time.Hour, b.say(signals.Force))
	b.after(2*time.Hour, func() { require.Equal(t, []string{signals.Retry, signals.Skip}, b.status().Answers) })
	b.after(3*time.Hour, b.say(signals.Retry))
	b.after(4*time.Hour, func() {
		require.Equal(t, "step away: flag a is active, asked for 1 min ago\nflag a is a prerequisite of c; "+
			"`retry` looks again, `force` archives all the same, `skip` goes on and leaves the flags there", b.status().Needs)
	})
	b.after(5*time.Hour, b.say(signals.Force))
	b.completes()
	require.Equal(t, []bool{true, true, true}, b.forces("RetireFlag away"))
	require.Equal(t, []string{"b"}, b.made("MayRetire")[1].in.(activities.RetireInput).Retire.Flags)
}

func TestPeopleEndTheWaiting(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]struct {
		looks int
		force []bool
		state signals.StepState
	}{
		signals.Retry: {2, []bool{false, false}, signals.StepDone},
		signals.Force: {1, []bool{true, true}, signals.StepDone},
		signals.Skip:  {1, nil, signals.StepSkipped},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, retiring))
			b.when("MayRetire", forever, play{})
			b.after(time.Hour, func() {
				s := b.status()
				require.Equal(t, signals.Waiting, s.State)
				require.Equal(t, "step away waits until its flags can be retired: `retry` looks again at once, `force` archives all the same, "+
					"`skip` goes on and leaves the flags there; `rollback` undoes", s.Needs)
				require.Equal(t, []string{signals.Retry, signals.Force, signals.Skip}, s.Answers)
			})
			b.after(2*time.Hour, func() { b.SignalWorkflow(says, signals.Request{By: "bob", Reason: "enough"}) })
			b.completes()
			require.Contains(t, b.notices(), says+" by bob: enough: step away")
			require.Equal(t, []string{says}, b.audited())
			require.Empty(t, b.status().Answers)
			require.Len(t, b.made("MayRetire"), c.looks)
			require.Equal(t, c.force, b.forces("RetireFlag away"))
			require.Equal(t, c.state, b.step("away").State)
			for _, call := range b.made("RetireFlag") {
				require.Equal(t, 2*time.Hour, call.at)
			}
		})
	}
}

func TestWhatEndsTheWaitingIsNotLostToANewRun(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("MayRetire", forever)
	b.after(24*time.Hour, func() {
		b.SetContinueAsNewSuggested(true)
		b.SignalWorkflow(signals.Skip, nil)
	})
	next := b.continues()
	next.completes()
	require.Empty(t, next.made("MayRetire"))
	require.Empty(t, next.made("RetireFlag"))
	require.Equal(t, signals.StepSkipped, next.step("away").State)
}

func TestNewRunWhileFlagsAreInUse(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.when("MayRetire", forever, play{})
	b.suggest(24 * time.Hour)
	next := b.continues()
	next.completes()
	require.Len(t, next.made("MayRetire"), 1)
	require.Len(t, next.made("RetireFlag"), 2)
}

func TestWhatIsGivenUpIsSaid(t *testing.T) {
	t.Parallel()
	require.Equal(t, ": waits for c", stillWaitedFor(temporal.NewCanceledError("waits for c")))
	for _, silent := range []error{nil, errSkipped, temporal.NewCanceledError()} {
		require.Empty(t, stillWaitedFor(silent))
	}
}
