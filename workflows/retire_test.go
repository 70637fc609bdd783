package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
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
	b.when("MayRetire", play{after: 24 * time.Hour})
	b.after(time.Hour, b.say(signals.Pause))
	b.after(2*time.Hour, func() { require.Equal(t, signals.Paused, b.status().State) })
	b.after(48*time.Hour, func() { require.Empty(t, b.made("RetireFlag")) })
	b.after(72*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, 72*time.Hour, b.made("RetireFlag")[0].at)
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
