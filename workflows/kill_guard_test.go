package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// A check that begins with a flag's step, or behind it, holds only with the flag on.
func TestChecksThatPresumeFlagsRestWhileTheyAreOff(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: s, environment: e, drain: 20m}, guard: {checks: [
		{name: answers, http: {url: "http://shop/", status: 200}}, {name: carries, from: rest, sql: {query: q, max: 0}}]},
		steps: [{name: expand, migrate: {to: 2}}, {name: first, flag: {key: a, soak: 1h}}, {name: rest, soak: 10h}]}`))
	watched := func() (all []string) { return b.status().Guard.Watching }
	b.after(119*time.Minute, func() { require.Equal(t, []string{"answers", "carries"}, watched()) })
	b.when("WatchHealth", forever, press(time.Hour, 7, "a"), forever)
	b.after(3*time.Hour, func() {
		require.Equal(t, signals.Paused, b.status().State)
		require.Equal(t, []string{"answers"}, watched())
	})
	b.after(4*time.Hour, b.say(signals.Resume))
	b.after(4*time.Hour+10*time.Minute, func() {
		require.Equal(t, signals.Paused, b.status().State, "requests that saw the flag off may still write")
		require.Equal(t, []string{"answers"}, watched())
	})
	b.after(4*time.Hour+30*time.Minute, func() { require.Equal(t, []string{"answers", "carries"}, watched()) })
	b.completes()
	require.Equal(t, 4*time.Hour, b.applied(3 * time.Hour)[0].at)
	last := b.made("WatchHealth")[len(b.made("WatchHealth"))-1].in.(activities.WatchInput)
	require.Len(t, last.Checks, 2)
	require.EqualValues(t, 7, last.Kills)
}

// A verification presumes the flags before it as well.
func TestAVerificationThatFailsWhileFlagsAreOffIsAskedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		second play
		end    func(*bundle)
	}{
		"and holds then": {play{}, func(b *bundle) { b.completes() }},
		"and fails then": {permanent, func(b *bundle) { require.Equal(t, "step prove: it broke", b.rollsBack().Cause) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, returning))
			b.approveAll()
			b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
			b.when("Verify prove", play{after: 2 * time.Hour, err: permanent.err}, c.second)
			b.after(5*time.Hour, func() {
				require.Equal(t, signals.Paused, b.status().State)
				require.Empty(t, b.compensations())
			})
			b.after(6*time.Hour, b.say(signals.Resume))
			c.end(b)
			require.Equal(t, 6*time.Hour, b.made("Verify prove")[1].at)
		})
	}
}

func TestAProofThatFailsWhileFlagsAreOffIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: s, environment: e, drain: 0s}, steps: [
		{name: turn, flag: {key: a, soak: 1h}}, {name: fill, backfill: {table: t, set: {a: b}, where: a is null}}]}`))
	b.when("WatchHealth", press(90*time.Minute, 7, "a"), forever)
	b.when("ProveBackfill fill", play{after: time.Hour, err: permanent.err}, play{})
	b.after(6*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, 6*time.Hour, b.made("ProveBackfill fill")[1].at)
	require.Equal(t, signals.StepDone, b.step("fill").State)
}

func TestChecksRestForOneContextInAPersonsPause(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, flags: {project: s, environment: e, drain: 0s}, guard: {checks: [
		{name: answers, http: {url: "http://shop/", status: 200}}, {name: carries, from: rest, sql: {query: q, max: 0}}]},
		steps: [{name: expand, migrate: {to: 2}}, {name: first, flag: {key: a, soak: 1h}}, {name: rest, soak: 10h}]}`))
	watched := func() []string { return b.status().Guard.Watching }
	b.when("WatchHealth", forever, press(time.Hour, 7), forever)
	b.after(90*time.Minute, func() { b.SignalWorkflow(signals.Pause, signals.Request{By: "bob", Reason: "lunch"}) })
	b.after(119*time.Minute, func() { require.Equal(t, []string{"answers", "carries"}, watched()) })
	b.after(3*time.Hour, func() { require.Equal(t, []string{"answers"}, watched()) })
	b.after(4*time.Hour, b.say(signals.Resume))
	b.after(4*time.Hour+time.Minute, func() { require.Equal(t, []string{"answers", "carries"}, watched()) })
	b.completes()
}
