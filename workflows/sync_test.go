package workflows

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// synced is the example with a trigger beside its backfill.
func synced(t *testing.T) *plan.Plan {
	p := example(t)
	p.Steps[p.StepIndex("fill")].Backfill.Sync = plan.SyncTrigger
	return p
}

func TestTheSyncTriggerGoesBeforeItsColumnsDo(t *testing.T) {
	t.Parallel()
	b := setup(t, synced(t))
	b.approveAll()
	b.completes()
	keys := b.keys("WatchHealth")
	require.Equal(t, []string{"InstallSync fill", "PrepareBackfill fill", "BackfillLane fill 0"}, keys[5:8])
	require.Equal(t, []string{"fill"}, b.unsyncing("drop-old"))
	require.Empty(t, b.made("RemoveSync"), "once is enough")
}

// unsyncing are the steps whose triggers the latest attempt at an irreversible step takes away.
func (b *bundle) unsyncing(step string) (steps []string) {
	made := b.made("Migrate " + step)
	for _, in := range made[len(made)-1].in.(activities.MigrateInput).Synced {
		steps = append(steps, in.Origin.Step)
	}
	return steps
}

func TestTheSyncTriggerGoesAtTheEndWhereNothingIsDropped(t *testing.T) {
	t.Parallel()
	p := synced(t)
	p.Steps = p.Steps[:p.StepIndex("contract")]
	b := setup(t, p)
	b.approveAll()
	b.completes()
	keys := b.keys("WatchHealth")
	require.Equal(t, []string{"RemoveSync fill", "Finish completed"}, keys[len(keys)-2:])
}

func TestARollbackRemovesTheSyncTriggerBeforeTheCheckpoints(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{"InstallSync fill", "BackfillLane fill 1", "Verify prove", "Migrate drop-old"} {
		t.Run(failing, func(t *testing.T) {
			t.Parallel()
			b := setup(t, synced(t))
			b.when(failing, permanent, play{})
			b.approveAll()
			report := b.rollsBack()
			require.Contains(t, report.Cause, "it broke")
			keys := b.keys("WatchHealth")
			at := slices.Index(keys, "ResetBackfill fill")
			require.Equal(t, "RemoveSync fill", keys[at-1])
			i := slices.IndexFunc(report.Compensations, func(c signals.Compensated) bool { return c.Step == "fill" })
			require.Equal(t, "trigger and checkpoints dropped", report.Compensations[i].Detail)
		})
	}
}

// A run that begins behind the fill may find the trigger of the run before.
func TestALaterRunRemovesTheTriggerOfTheRunBefore(t *testing.T) {
	t.Parallel()
	for resume, removed := range map[string]int{"drop-old": 0, "retire": 1} {
		t.Run(resume, func(t *testing.T) {
			t.Parallel()
			b := setup(t, synced(t))
			b.begun.ResumeAt = b.plan.StepIndex(resume)
			b.completes()
			require.Empty(t, b.made("InstallSync"))
			require.Len(t, b.made("RemoveSync"), removed)
			if removed == 0 {
				require.Equal(t, []string{"fill"}, b.unsyncing("drop-old"))
			}
		})
	}
}

func TestAPauseKeepsTheTriggerAtTheEnd(t *testing.T) {
	t.Parallel()
	p := synced(t)
	p.Steps = p.Steps[:p.StepIndex("fill")+1]
	b := setup(t, p)
	b.on("ProveBackfill fill", b.say(signals.Pause))
	looked := false
	b.after(time.Hour, func() {
		looked = true
		require.Equal(t, signals.StepDone, b.step("fill").State)
		require.Empty(t, b.made("RemoveSync"))
		b.say(signals.Resume)()
	})
	b.completes()
	require.True(t, looked)
	require.Len(t, b.made("RemoveSync"), 1)
}

func TestATriggerThatCannotBeRemovedAtTheEndIsAskedAbout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says  string
		calls int
	}{"retry": {signals.Retry, 2}, "skip": {signals.Skip, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := synced(t)
			p.Steps = p.Steps[:p.StepIndex("cutover")]
			b := setup(t, p)
			b.when("RemoveSync fill", permanent, play{})
			asked := false
			b.after(time.Hour, func() {
				asked = true
				require.Equal(t, signals.Stuck, b.status().State)
				require.Equal(t, "removing the sync trigger of step fill fails: it broke; `retry` tries it again, `skip` leaves it there, to be dropped by hand", b.status().Needs)
			})
			b.after(2*time.Hour, b.say(c.says))
			b.completes()
			require.True(t, asked)
			require.Len(t, b.made("RemoveSync"), c.calls)
		})
	}
}

// With the flags off the trigger alone fills the new shape, and no proof comes behind it.
func TestAKillKeepsTheTriggersThatAreLeft(t *testing.T) {
	t.Parallel()
	const plan = `{name: p, database: d, migrations: m, flags: {project: shop, environment: production, drain: 0s}, steps: [
		{name: turn, flag: {key: k, soak: 1h}}, {name: one, backfill: {table: t, set: {a: b}, where: a is null, sync: trigger}},
		{name: two, backfill: {table: u, set: {a: b}, where: a is null, sync: trigger}}]}`
	for name, c := range map[string]struct {
		first  play
		says   string
		before int // removals until the resume
	}{
		"while one can't be removed": {permanent, signals.Retry, 1},
		"while one is removed":       {play{after: time.Hour}, signals.Throttle, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, planOf(t, plan))
			b.when("RemoveSync one", c.first, play{})
			b.when("WatchHealth", press(90*time.Minute, 7, "k"), forever)
			b.after(3*time.Hour, b.say(c.says))
			b.after(5*time.Hour, func() {
				require.Equal(t, signals.Paused, b.status().State)
				require.Len(t, b.made("RemoveSync"), c.before)
				b.say(signals.Resume)()
			})
			b.completes()
			require.Equal(t, 5*time.Hour, b.made("RemoveSync two")[0].at)
		})
	}
}

// A trigger that stays must not keep the checkpoints: they would be gone on from, and the lanes not be fenced.
func TestATriggerThatStaysDoesNotKeepTheCheckpoints(t *testing.T) {
	t.Parallel()
	b := setup(t, synced(t))
	b.when("Verify prove", permanent, play{})
	b.when("RemoveSync fill", permanent, play{})
	b.after(time.Hour, func() {
		require.Equal(t, signals.Stuck, b.status().State)
		require.Contains(t, b.status().Needs, "undoing step fill fails: removing its sync trigger: it broke")
		b.say(signals.Skip)()
	})
	report := b.rollsBack()
	i := slices.IndexFunc(report.Compensations, func(c signals.Compensated) bool { return c.Step == "fill" })
	require.Equal(t, signals.StepSkipped, report.Compensations[i].Outcome)
	for _, name := range []string{"RemoveSync fill", "ResetBackfill fill"} {
		require.Len(t, b.made(name), 1)
		require.True(t, b.made(name)[0].in.(activities.BackfillInput).Undoing)
	}
}

func TestAnotherAttemptAtTheStepInstallsAndRemovesAgain(t *testing.T) {
	t.Parallel()
	p := planOf(t, `{name: p, database: d, migrations: m, steps: [
		{name: one, backfill: {table: t, set: {a: b}, where: a is null}}, {name: prove, verify: {query: select 1, max: 1}}, {name: ok, approve: {by: [alice]}},
		{name: drop, migrate: {to: 1, irreversible: true}},
		{name: two, backfill: {table: t, set: {a: b}, where: a is null, sync: trigger}}]}`)
	b := setup(t, p)
	b.approveAll()
	b.when("ProveBackfill two", permanent, play{})
	b.after(time.Hour, b.say(signals.Retry))
	b.completes()
	require.Equal(t, []string{"InstallSync two", "PrepareBackfill two", "BackfillLane two 0", "BackfillLane two 1", "ProveBackfill two",
		"InstallSync two", "PrepareBackfill two", "BackfillLane two 0", "BackfillLane two 1", "ProveBackfill two", "RemoveSync two", "Finish completed"},
		b.keys("WatchHealth", "Begin", "Audit")[6:])
}
