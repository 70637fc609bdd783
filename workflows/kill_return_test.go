package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// returning is a plan whose old shape goes at its end.
const returning = `
name: switched
database: shop
migrations: migrations
flags: {project: shop, environment: production, drain: 0s}
steps:
  - {name: expand, migrate: {to: 2}}
  - {name: write, flag: {key: a, rollout: [100], soak: 1h}}
  - {name: prove, verify: {query: "select 0", max: 0}}
  - {name: ask, approve: {by: [alice, bob]}}
  - {name: read, flag: {key: b, rollout: [100], soak: 1h}}
  - {name: drop, migrate: {to: 3, irreversible: true}}
`

func TestTheOldShapeInUseIsAskedAbout(t *testing.T) {
	t.Parallel()
	for says, forces := range map[string][]bool{signals.Retry: {false, false}, signals.Force: {false, true}} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, returning))
			b.when("Migrate drop", failing(inUseType, "one context is out of flag a"), play{})
			b.after(24*time.Hour, func() {
				require.Equal(t, signals.Stuck, b.status().State)
				require.Equal(t, "step drop: one context is out of flag a; `retry` looks again, `force` goes on all the same: what lives in the old shape alone is lost; `rollback` undoes",
					b.status().Needs)
				require.Equal(t, []string{"retry", "force"}, b.status().Answers, "what follows wants it done")
			})
			b.after(25*time.Hour, b.say(says))
			b.approveAll()
			b.completes()
			var forced []bool
			for _, c := range b.made("Migrate drop") {
				forced = append(forced, c.in.(activities.MigrateInput).Force)
				require.Equal(t, b.plan.Flags, c.in.(activities.MigrateInput).Flags)
			}
			require.Equal(t, forces, forced)
		})
	}
}

// With the write flag off the new shape misses what is written: whoever reads it comes back when it has that.
func TestReadersComeBackWhenWhatWasProvedHoldsAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	drain := plan.Duration(time.Minute)
	b.plan.Flags.Drain = &drain
	b.when("Verify prove", play{}, failing("NotProven", "the query returned 1"), play{})
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.when("Migrate drop", play{})
	b.when("WatchHealth", press(90*time.Minute, 7, "b", "a"), forever)
	b.after(5*time.Hour, b.say(signals.Resume))
	b.after(6*time.Hour, func() {
		s := b.status()
		require.Equal(t, signals.Stuck, s.State)
		require.Equal(t, "paused: "+pressed+"; resumed by dave: b must be put back first; and what step prove has proved does not hold any more: the query returned 1; while flags were off rows were written "+
			"in the old shape alone, and whoever is served the new one would meet what stood there before: fill them, then `retry`; `force` goes on all the same; `rollback` undoes", s.Needs)
		require.Equal(t, []string{"retry", "force"}, s.Answers)
		require.Equal(t, []string{"b"}, s.Killed)
	})
	b.after(7*time.Hour, b.say(signals.Retry))
	b.completes()
	require.Equal(t, []string{"a", "b", "a", "b"}, flagsOf(b.made("ApplyFlag")))
	require.Equal(t, []time.Duration{5 * time.Hour, 7 * time.Hour}, times(b.applied(5*time.Hour)))
	require.Equal(t, []time.Duration{5*time.Hour + time.Minute, 7 * time.Hour}, times(b.made("Verify")[1:]), "behind requests that saw the flag off")
}

func times(calls []call) (all []time.Duration) {
	for _, c := range calls {
		all = append(all, c.at)
	}
	return all
}

func TestNoReaderComesBackWhereItIsRolledBackInstead(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.when("Verify prove", play{}, failing("NotProven", "the query returned 1"))
	b.whenAsked("ask", func() { b.approve("ask", "alice") })
	b.when("WatchHealth", press(90*time.Minute, 7, "b", "a"), forever)
	b.after(5*time.Hour, b.say(signals.Resume))
	b.after(6*time.Hour, b.say(signals.Rollback))
	b.rollsBack()
	require.Equal(t, []string{"a"}, flagsOf(b.applied(5*time.Hour)))
}

// One flag whose stages stand on both sides of a verification writes first, and is read behind it.
func TestStagesComeBackOnTheirSideOfAVerification(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `
name: switched
database: shop
migrations: migrations
flags: {project: shop, environment: production, drain: 0s}
steps:
  - {name: write, flag: {key: a, stages: [dualwrite]}}
  - {name: prove, verify: {query: "select 0", max: 0}}
  - {name: read, flag: {key: a, stages: [shadow, live], soak: 1h}}
`))
	b.when("WatchHealth", press(30*time.Minute, 7, "a"), forever)
	b.after(5*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, []string{"ApplyFlag write dualwrite a", "Verify prove", "ApplyFlag read shadow a", "ApplyFlag read live a"},
		b.keys("WatchHealth", "Audit", "Finish", "Begin")[3:])
}

// Behind the point of no return there is no old shape that a verification could compare with.
func TestWhatWasProvedOfAShapeThatIsGoneIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, behind))
	b.plan.Steps[4].Flag.Soak = plan.Duration(30 * time.Hour)
	b.when("WatchHealth", press(20*time.Hour, 7, "k"), forever)
	b.after(25*time.Hour, b.say(signals.Resume))
	b.approveAll()
	b.completes()
	require.Len(t, b.made("Verify"), 1)
	require.Len(t, b.made("ApplyFlag"), 2)
}

func TestASoakThatEndedWhileFlagsWereOffHasItsRest(t *testing.T) {
	t.Parallel()
	pressedAt := func(p play, at time.Duration) play {
		v := p.out.(activities.GuardVerdict)
		v.Since = begin.Add(at)
		p.out = v
		return p
	}
	t.Run("a stage", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, switched))
		b.plan.Steps = b.plan.Steps[:2]
		b.plan.Steps[1].Flag.Keys = []string{"a"}
		b.when("ApplyFlag first 100", failing(killedType, "the kill switch was pressed"), play{})
		b.when("WatchHealth", pressedAt(press(20*time.Hour, 7, "a"), 15*time.Minute), forever) // with nobody there to tell
		b.after(30*time.Hour, b.say(signals.Resume))
		b.completes()
		require.Equal(t, []time.Duration{0, time.Hour, 30 * time.Hour, 30*time.Hour + 45*time.Minute}, times(b.made("ApplyFlag")))
	})
	t.Run("a step", func(t *testing.T) {
		t.Parallel()
		b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: shop, environment: production, drain: 0s}, steps: [
			{name: turn, flag: {key: k}}, {name: rest, soak: 10h}, {name: prove, verify: {query: select 0, max: 0}}, {name: ask, approve: {by: [alice, bob]}},
			{name: drop, migrate: {to: 3, irreversible: true}}]}`))
		b.when("WatchHealth", pressedAt(press(20*time.Hour, 7, "k"), 4*time.Hour), forever)
		b.after(30*time.Hour, b.say(signals.Resume))
		b.after(31*time.Hour, func() { b.approve("ask", "alice") })
		b.completes()
		require.Equal(t, 36*time.Hour, b.made("Migrate drop")[0].at)
	})
}
