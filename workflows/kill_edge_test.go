package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/signals"
)

// An earlier version of the plan had flags: its press forbids a drop of the one that has none.
func TestAPressOfAPlanWithoutFlagsIsToldOnceItForbidsAStep(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, steps: [{name: expand, migrate: {to: 2}},
		{name: prove, verify: {query: "select 0", max: 0}}, {name: ok, approve: {by: [alice, bob]}}, {name: drop, migrate: {to: 3, irreversible: true}}]}`))
	b.when("Migrate drop", failing(killedType, "the kill switch was pressed"), play{})
	b.when("WatchHealth", press(time.Second, 7, "old"), forever)
	b.approveAll()
	b.after(10*time.Hour, func() {
		require.Equal(t, signals.Paused, b.status().State)
		require.Contains(t, b.status().Needs, pressed)
	})
	b.after(20*time.Hour, b.say(signals.Resume))
	b.completes()
	require.EqualValues(t, 7, b.made("Migrate drop")[1].in.(activities.MigrateInput).Kills)
	require.Contains(t, b.notices(), "the kill switch stays with old: no step of this migration has brought it on, or people left it as it was")
}

// One context in the old shape is enough to break what a verification presumes.
func TestAVerificationThatFailsWhileOneContextIsOffIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, returning))
	b.approveAll()
	b.when("WatchHealth", press(90*time.Minute, 7), forever)
	b.when("Verify prove", play{after: time.Hour, err: permanent.err}, play{})
	b.after(5*time.Hour, func() { require.Equal(t, signals.Paused, b.status().State) })
	b.after(6*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Equal(t, 6*time.Hour, b.made("Verify prove")[1].at)
}

// What people decided they decided of what they saw then.
func TestForceIsNotOfAPressForOneContext(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, retiring))
	b.plan.Steps[1].Retire.Otherwise = ""
	b.when("MayRetire away", inUse, play{})
	b.when("RetireFlag away a", failing(killedType, "the kill switch was pressed"), play{})
	b.when("WatchHealth", press(2*time.Hour+time.Minute, 7), forever)
	b.after(2*time.Hour, b.say(signals.Force))
	b.after(40*time.Hour, b.say(signals.Resume))
	b.completes()
	require.Len(t, b.made("MayRetire"), 2)
	require.Equal(t, []bool{true, false}, b.forces("RetireFlag away a"))
}

func TestAChangeThatWasForbiddenSaysSoNoLonger(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, switched))
	b.when("ApplyFlag first 10", failing(killedType, "the kill switch was pressed"), play{after: time.Hour})
	b.when("WatchHealth", press(time.Minute, 7, "a"), forever)
	b.after(30*time.Minute, func() { require.Equal(t, "a off by the kill switch", b.step("first").Detail) })
	b.after(time.Hour, b.say(signals.Resume))
	b.after(90*time.Minute, func() { require.Empty(t, b.step("first").Detail) })
	b.approveAll()
	b.completes()
}

// The database is away when bob rejects, and the run is continued as new before it is back.
func TestARejectionOutlivesANewRun(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, migrations: m, steps: [
		{name: expand, migrate: {to: 2}}, {name: ok, approve: {by: [alice, bob], within: 100h}}, {name: more, migrate: {to: 3}}]}`))
	b.when("Audit", play{after: 2 * time.Hour}, play{})
	b.winding["Audit"], b.despite["Audit"] = time.Second, nil
	b.after(time.Hour, func() { b.SignalWorkflow(signals.Reject, signals.Decision{Step: "ok", By: "bob", Reason: "no"}) })
	b.after(90*time.Minute, func() { b.SetContinueAsNewSuggested(true) })
	b.after(90*time.Minute, func() { b.SignalWorkflow(signals.Throttle, nil) })
	next := b.continues()
	require.Equal(t, "step ok: rejected by bob: no", next.rollsBack().Cause)
}
