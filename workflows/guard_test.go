package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// watched are the names of the checks of each WatchHealth call, with the time since begin.
func (b *bundle) watched() (lists [][]string, at []time.Duration) {
	for _, c := range b.made("WatchHealth") {
		var names []string
		for _, check := range c.in.(activities.WatchInput).Checks {
			names = append(names, check.Name)
		}
		lists, at = append(lists, names), append(at, c.at)
	}
	return lists, at
}

func TestChecksAreWatchedFromTheirStepOn(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.approveAll()
	b.completes()
	lists, at := b.watched()
	require.Equal(t, [][]string{{"shop answers"}, {"shop answers", "new writes carry the new columns"}}, lists)
	require.Equal(t, []time.Duration{0, b.made("PrepareBackfill")[0].at}, at)
	in := b.made("WatchHealth")[0].in.(activities.WatchInput)
	require.Equal(t, b.plan.Guard.Interval, in.Interval)
}

func TestGuardThatBeginsLate(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d,
		guard: {checks: [{name: up, from: second, http: {url: "http://shop/"}}]},
		steps: [{name: first, soak: 1h}, {name: second, soak: 1h}]}`))
	b.completes()
	lists, at := b.watched()
	require.Equal(t, [][]string{{"up"}}, lists)
	require.Equal(t, []time.Duration{time.Hour}, at)
	require.Equal(t, plan.Duration(plan.DefaultGuardInterval), b.made("WatchHealth")[0].in.(activities.WatchInput).Interval)
}

func TestWatchGoesOnSliceAfterSlice(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, guarded))
	b.when("WatchHealth", play{after: 25 * time.Minute})
	b.completes()
	require.Len(t, b.made("WatchHealth"), 3)
}

const guarded = `{name: p, database: d, guard: {checks: [{name: up, http: {url: "http://shop/"}}]}, steps: [{name: wait, soak: 1h}]}`

func TestWhatCannotBeMeasuredPausesAndAsks(t *testing.T) {
	t.Parallel()
	const why = "health check \"up\" could not be measured: no route; `resume` goes on and watches it again, `rollback` undoes"
	blind := play{after: time.Minute, out: activities.GuardVerdict{Outcome: activities.Inconclusive, Check: "up", Reading: "no route"}}
	arrange := func(t *testing.T) *bundle {
		b := setup(t, planOf(t, `{name: p, database: d, guard: {checks: [{name: up, http: {url: "http://shop/"}}]},
			steps: [{name: first, soak: 1h}, {name: second, soak: 1h}]}`))
		b.chat = true
		b.when("WatchHealth", blind, forever)
		b.after(2*time.Hour, func() {
			s := b.status()
			require.Equal(t, signals.Paused, s.State)
			require.Equal(t, "paused by guard: "+why, s.Needs)
			require.Equal(t, activities.Inconclusive, s.Guard.Verdict)
			require.Equal(t, signals.StepPending, b.step("second").State)
		})
		return b
	}
	t.Run("resume watches again", func(t *testing.T) {
		t.Parallel()
		b := arrange(t)
		b.after(3*time.Hour, b.say(signals.Resume))
		result := b.completes()
		require.Equal(t, 4*time.Hour, result.Ended.Sub(result.Started))
		_, at := b.watched()
		require.Equal(t, []time.Duration{0, 3 * time.Hour}, at)
		require.Equal(t, why, b.made("PostNotice stuck")[0].in.(activities.NoticeInput).Text)
		require.Equal(t, []string{"paused", "resumed"}, b.audited())
	})
	t.Run("rollback undoes", func(t *testing.T) {
		t.Parallel()
		b := arrange(t)
		b.after(3*time.Hour, b.say(signals.Rollback))
		require.Equal(t, "rollback requested by dave", b.rollsBack().Cause)
		require.Equal(t, signals.StepPending, b.step("second").State)
	})
	t.Run("and asks again", func(t *testing.T) {
		t.Parallel()
		b := arrange(t)
		b.when("WatchHealth", blind, blind, forever)
		b.after(3*time.Hour, b.say(signals.Resume))
		b.after(5*time.Hour, b.say(signals.Resume))
		b.completes()
		require.Len(t, b.made("PostNotice stuck"), 2)
	})
}

func TestMigrationDoesNotEndWhileItsLastStepCannotBeMeasured(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says string
		end  func(*bundle)
	}{
		"resume":   {signals.Resume, func(b *bundle) { b.completes() }},
		"rollback": {signals.Rollback, func(b *bundle) { b.rollsBack() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, guarded))
			b.when("WatchHealth", play{after: 59 * time.Minute, out: activities.GuardVerdict{Outcome: activities.Inconclusive, Check: "up"}}, forever)
			b.after(2*time.Hour, func() {
				require.Equal(t, signals.Paused, b.status().State)
				require.Equal(t, signals.StepDone, b.step("wait").State)
			})
			b.after(3*time.Hour, b.say(c.says))
			c.end(b)
			require.Equal(t, 3*time.Hour, b.made("Finish")[0].at)
		})
	}
}

func TestGuardItselfThatBreaksPausesAndAsks(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, guarded))
	b.when("WatchHealth", permanent, forever)
	b.after(time.Minute, func() {
		require.Contains(t, b.status().Needs, "the guard can't watch: it broke")
	})
	b.after(2*time.Minute, b.say(signals.Resume))
	b.completes()
}

func TestPlanWithoutGuardWatchesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, "{name: p, database: d, steps: [{name: wait, soak: 1h}]}"))
	b.completes()
	require.Empty(t, b.made("WatchHealth"))
	require.Nil(t, b.status().Guard)
}

// What can't be measured holds the migration, and the other checks can still end it.
func TestTheOtherChecksAreWatchedWhileOneHolds(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, guard: {checks: [{name: lag, sql: {query: q, max: 1}}, {name: up, http: {url: "http://shop/"}}]},
		steps: [{name: first, soak: 1h}, {name: second, soak: 1h}]}`))
	b.when("WatchHealth",
		play{after: time.Minute, out: activities.GuardVerdict{Outcome: activities.Inconclusive, Check: "lag", Reading: "no route"}},
		play{after: time.Minute, out: activities.GuardVerdict{Outcome: activities.Unhealthy, Check: "up", Reading: "500"}})
	b.after(90*time.Second, func() {
		require.Equal(t, signals.Paused, b.status().State)
		require.Equal(t, []string{"up"}, b.status().Guard.Watching)
	})
	require.Equal(t, `health check "up" failed: 500`, b.rollsBack().Cause)
}

func TestAPersonsPauseStaysThePersons(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, guarded))
	b.when("WatchHealth", play{after: time.Minute, out: activities.GuardVerdict{Outcome: activities.Inconclusive, Check: "up"}}, forever)
	b.after(time.Second, func() { b.SignalWorkflow(signals.Pause, signals.Request{By: "bob", Reason: "lunch"}) })
	b.after(2*time.Minute, func() {
		require.Equal(t, "paused by bob: lunch", b.status().Needs)
		require.Len(t, b.notices(), 1)
	})
	b.after(3*time.Minute, b.say(signals.Resume))
	b.completes()
	_, at := b.watched()
	require.Equal(t, []time.Duration{0, 3 * time.Minute}, at)
}
