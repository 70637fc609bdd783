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

// undone are the compensations of the example's steps, newest first.
var undone = []string{
	"RestoreFlag read-new customers-read-new", "ResetBackfill fill", "RestoreFlag write-new customers-write-new", "MigrateDown expand",
}

func TestFailureCompensatesExactlyTheStepsBegun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		failing string // fails for good, without having done anything
		want    []string
	}{
		{"Migrate expand", undone[3:]}, // pushed before the step acts, and the step's first activity fails
		{"ApplyFlag write-new 10", undone[2:]},
		{"ApplyFlag write-new 100", undone[2:]},
		{"PrepareBackfill fill", undone[1:]},
		{"BackfillLane fill 1", undone[1:]},
		{"ProveBackfill fill", undone[1:]},
		{"Verify prove", undone[1:]},
		{"ApplyFlag read-new 1", undone},
		{"ApplyFlag read-new 100", undone},
		{"Migrate drop-old", undone}, // irreversible, but the schema says that it has not run
	} {
		t.Run(c.failing, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.when(c.failing, permanent)
			b.approveAll()
			report := b.rollsBack()
			require.Equal(t, c.want, b.compensations())
			step := b.made(c.failing)[0]
			require.Contains(t, report.Cause, "it broke")
			require.Len(t, report.Compensations, len(c.want))
			for _, line := range report.Compensations {
				require.Equal(t, signals.StepCompensated, line.Outcome)
				require.Equal(t, signals.StepCompensated, b.step(line.Step).State)
				require.NotEmpty(t, line.Detail)
			}
			require.Equal(t, report.Cause, b.made("Finish")[0].in.(activities.FinishInput).Detail)
			require.NotContains(t, b.keys()[slices.Index(b.keys(), step.key)+1:], "Migrate drop-old", "nothing goes on")
			require.Empty(t, b.made("RetireFlag"))
		})
	}
}

func TestReportTellsWhatWasUndone(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("Verify prove", permanent)
	report := b.rollsBack()
	require.Equal(t, "step prove: it broke", report.Cause)
	require.Equal(t, []signals.Compensated{
		{Step: "fill", Outcome: signals.StepCompensated, Detail: "checkpoints dropped"},
		{Step: "write-new", Outcome: signals.StepCompensated, Detail: "customers-write-new is off again"},
		{Step: "expand", Outcome: signals.StepCompensated, Detail: "schema back at version 0, took down 2"},
	}, report.Compensations)
	require.Equal(t, signals.StepFailed, b.step("prove").State)
	require.Equal(t, signals.StepPending, b.step("cutover").State)
	require.Zero(t, b.step("write-new").Percent)
	require.Contains(t, b.details(), "Cause: step prove: it broke")
}

func TestLanesHaveEndedBeforeCompensationsBegin(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("BackfillLane fill 0", forever)
	b.when("BackfillLane fill 1", play{after: time.Minute, err: permanent.err})
	b.winding["BackfillLane fill 0"] = 20 * time.Second // the chunk under way takes its time
	report := b.rollsBack()
	require.Equal(t, "step fill: it broke", report.Cause)
	order := b.keys("WatchHealth")
	require.Less(t, slices.Index(order, "ended BackfillLane fill 0"), slices.Index(order, "ResetBackfill fill"))
	require.Equal(t, 20*time.Second, b.made("ResetBackfill fill")[0].at-b.made("BackfillLane fill")[0].at-time.Minute)
}

// What acts in the target must have ended before its compensation begins, whatever it is.
func TestNothingActsBesideItsCompensation(t *testing.T) {
	t.Parallel()
	for acting, compensation := range map[string]string{
		"Migrate expand":         "MigrateDown expand",
		"ApplyFlag write-new 10": "RestoreFlag write-new",
		"PrepareBackfill fill":   "ResetBackfill fill",
		"BackfillLane fill 1":    "ResetBackfill fill",
		"ProveBackfill fill":     "ResetBackfill fill",
		"Verify prove":           "ResetBackfill fill",
	} {
		t.Run(acting, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.when(acting, forever)
			b.winding[acting] = time.Minute
			b.after(time.Hour, func() { b.SignalWorkflow(signals.Rollback, signals.Request{By: "bob"}) })
			b.rollsBack()
			ended := b.made("ended " + acting)
			require.Len(t, ended, 1)
			require.GreaterOrEqual(t, b.made(compensation)[0].at, ended[0].at)
			require.Equal(t, time.Hour+time.Minute, ended[0].at)
		})
	}
}

func TestTriggersOfARollback(t *testing.T) {
	t.Parallel()
	atCutover := undone[1:]
	for name, c := range map[string]struct {
		arrange func(*bundle)
		cause   string
		want    []string
	}{
		"a health check fails": {
			func(b *bundle) {
				b.when("WatchHealth", play{after: time.Second, out: activities.GuardVerdict{Outcome: activities.Unhealthy, Check: "shop answers", Reading: "status 500"}})
			},
			`health check "shop answers" failed: status 500`, undone[2:],
		},
		"a step fails for good": {func(b *bundle) { b.when("Verify prove", permanent) }, "step prove: it broke", atCutover},
		"a step keeps failing":  {func(b *bundle) { b.when("ApplyFlag write-new 10", fleeting) }, "step write-new: the network is down", undone[2:]},
		"a person rejects": {
			func(b *bundle) {
				b.after(time.Hour, func() {
					b.SignalWorkflow(signals.Reject, signals.Decision{Step: "cutover", By: "bob", Reason: "not on a Monday"})
				})
			},
			"step cutover: rejected by bob: not on a Monday", atCutover,
		},
		"nobody decides": {func(*bundle) {}, "step cutover: nobody decided within the time given", atCutover},
		"a person asks for": {
			func(b *bundle) {
				b.after(time.Hour, func() { b.SignalWorkflow(signals.Rollback, signals.Request{By: "dave", Reason: "the shop is slow"}) })
			},
			"rollback requested by dave: the shop is slow", atCutover,
		},
		"Temporal cancels": {func(b *bundle) { b.after(time.Hour, b.CancelWorkflow) }, "cancelled", atCutover},
		"a step takes too long": {
			func(b *bundle) {
				b.plan.Steps[2].Timeout = plan.Duration(10 * time.Minute)
				b.when("BackfillLane fill 1", forever)
			},
			"step fill: not done within its timeout of 10m0s", undone[1:],
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			c.arrange(b)
			report := b.rollsBack()
			require.Equal(t, c.cause, report.Cause)
			require.Equal(t, c.want, b.compensations())
			require.Equal(t, c.cause, b.status().Cause)
			require.Nil(t, b.status().Approval)
		})
	}
}

func TestPeopleAreToldOfARollback(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.chat = true
	b.after(time.Hour, b.CancelWorkflow)
	b.rollsBack()
	require.Len(t, b.made("PostNotice rolling_back"), 1)
	require.Len(t, b.made("PostNotice rolled_back"), 1)
	require.Len(t, b.made("UpdateCard cutover cancelled"), 1, "nobody can press its buttons any more")
}

func TestSchemaGoesDownOnlyAfterRequestsOfTheOldFlagHaveEnded(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("ApplyFlag write-new 50", permanent)
	b.rollsBack()
	require.Equal(t, 2*time.Second, b.made("MigrateDown")[0].at-b.made("RestoreFlag")[0].at)

	b = setup(t, example(t)) // no flag was touched: nothing to wait for
	b.when("Migrate expand", permanent)
	b.rollsBack()
	require.Zero(t, b.made("MigrateDown")[0].at)
}

func TestRollbackIsNeverLost(t *testing.T) {
	t.Parallel()
	rollback := func(b *bundle) func() {
		return func() { b.SignalWorkflow(signals.Rollback, signals.Request{By: "dave"}) }
	}
	t.Run("while the plan is looked at", func(t *testing.T) {
		t.Parallel()
		b := setup(t, example(t))
		b.when("Begin", play{after: time.Minute})
		b.after(time.Second, rollback(b))
		b.rollsBack()
		require.Equal(t, []string{"Begin", "Audit", "Finish rolled_back"}, b.keys(), "no step has begun")
	})
	for _, key := range []string{"Migrate expand", "ApplyFlag write-new 100", "ProveBackfill fill", "Verify prove", "Audit", "ApplyFlag read-new 100"} {
		t.Run("as this is asked for: "+key, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.approveAll()
			b.on(key, rollback(b))
			require.Equal(t, "rollback requested by dave", b.rollsBack().Cause)
			require.Empty(t, b.made("Migrate drop-old"))
		})
	}
	t.Run("while the last step ends", func(t *testing.T) {
		t.Parallel()
		p := planOf(t, "{name: p, database: d, flags: {project: p, environment: e}, steps: [{name: turn, flag: {key: k}}]}")
		b := setup(t, p)
		b.on("ApplyFlag", rollback(b))
		b.rollsBack()
		require.Equal(t, []string{"RestoreFlag turn k"}, b.compensations())
	})
	t.Run("too late, and told so", func(t *testing.T) {
		t.Parallel()
		p := planOf(t, "{name: p, database: d, flags: {project: p, environment: e}, steps: [{name: turn, flag: {key: k}}]}")
		b := setup(t, p)
		b.when("Finish", play{after: time.Minute})
		b.on("Finish", func() {
			rollback(b)()
			b.SignalWorkflow(signals.Pause, signals.Request{By: "dave"})
			b.SignalWorkflow(signals.Throttle, signals.ThrottleRequest{RowsPerSecond: 5})
		})
		b.completes()
		require.Equal(t, []string{
			"rollback refused: the migration is over", "pause refused: the migration is over", "throttle refused: the migration is over",
		}, b.notices())
		require.Empty(t, b.status().Cause)
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		b := setup(t, example(t))
		b.after(time.Hour, rollback(b))
		b.after(time.Hour, rollback(b))
		b.rollsBack()
		require.Equal(t, []string{"rollback refused: it is rolling back already"}, b.notices())
	})
}

func TestCancellationDuringARollbackChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.when("ResetBackfill", play{after: time.Hour})
	b.when("Verify prove", permanent)
	b.after(time.Minute, b.CancelWorkflow)
	require.Equal(t, "step prove: it broke", b.rollsBack().Cause)
	require.Equal(t, undone[1:], b.compensations())
}

// Its own first step fails, and a flag that reads the new columns is still on from the run that was cut off.
func TestARunUndoesWhatTheRunBeforeHadBegun(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.begun.Begun = []int{1, 2, 5}
	b.when("Migrate expand", permanent)
	require.Equal(t, "step expand: it broke", b.rollsBack().Cause)
	require.Equal(t, undone, b.compensations())
}

func TestAnEndThatCannotBeRecordedIsTheSameEnd(t *testing.T) {
	t.Parallel()
	told := []string{"the end could not be recorded in the target database: it broke"}
	b := setup(t, example(t))
	b.approveAll()
	b.when("Finish", permanent)
	b.completes()
	require.Equal(t, told, b.notices())

	b = setup(t, example(t))
	b.when("Finish", permanent)
	b.when("Verify", permanent)
	require.Equal(t, "step prove: it broke", b.rollsBack().Cause)
	require.Equal(t, told, b.notices())
}
