package workflows

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func TestRejectsAreToldOnCardAndStatus(t *testing.T) {
	t.Parallel()
	for rejects, want := range map[int64]string{0: "none left", 1: "none left, 1 row set aside", 3: "none left, 3 rows set aside"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			b := setup(t, example(t))
			b.chat = true
			b.when("ProveBackfill fill", play{out: activities.BackfillProven{Rows: 997, Rejects: rejects}})
			b.approveAll()
			b.completes()
			require.Equal(t, want, b.step("fill").Detail)
			require.Contains(t, b.made("PostCard cutover")[0].in.(activities.Card).Evidence,
				activities.Evidence{Name: "fill", Value: "997 rows filled, " + want})
		})
	}
}

func TestThePlanIsToldOnceItIsResolved(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.on("Begin", func() {
		_, err := b.QueryWorkflow(signals.PlanQuery)
		require.ErrorContains(t, err, "the plan has not been resolved")
	})
	b.approveAll()
	b.completes()
	value, err := b.QueryWorkflow(signals.PlanQuery)
	require.NoError(t, err)
	var running signals.RunningPlan
	require.NoError(t, value.Get(&running))
	require.Equal(t, b.plan, running.Plan)
	require.Equal(t, hash, running.PlanHash)
	require.NotEmpty(t, running.Migration)
	require.NotEmpty(t, running.FirstRun)
}

func TestAStepThatCannotBeRetriedDoesNotKeepTheOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, steps: [{name: one, backfill: {table: t, set: {a: b}, where: a is null}},
		{name: two, backfill: {table: t, set: {d: b}, where: d is null}}, {name: three, backfill: {table: t, set: {e: b}, where: e is null}}]}`))
	b.when("RetryRejects one", play{err: temporal.NewNonRetryableApplicationError("no such column", "Backfill", nil, signals.RejectsRetried{Tried: 7, Filled: 6})})
	b.when("RetryRejects three", permanent)
	b.ExecuteWorkflow(RetryRejects, signals.RunningPlan{Migration: "m", FirstRun: "r", Plan: b.plan, PlanHash: hash})
	failed, ok := errors.AsType[*temporal.ApplicationError](b.GetWorkflowError())
	require.True(t, ok)
	require.Equal(t, "step one: no such column; step three: it broke", failed.Message())
	var all signals.RejectsRetried
	require.NoError(t, failed.Details(&all))
	require.Equal(t, signals.RejectsRetried{Tried: 10, Filled: 7, Left: 1}, all)
}

func TestRejectsOfNoPlanAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, example(t))
	b.ExecuteWorkflow(RetryRejects, signals.RunningPlan{Migration: "m"})
	require.ErrorContains(t, b.GetWorkflowError(), "no plan is given")
}

func TestRejectsAreRetriedStepByStep(t *testing.T) {
	t.Parallel()
	b := setup(t, planOf(t, `{name: p, database: d, steps: [
		{name: one, backfill: {table: t, set: {a: b}, where: a is null}}, {name: people, backfill: {table: t, manual: true, where: c is null}},
		{name: nap, soak: 1s}, {name: two, backfill: {table: t, set: {d: b}, where: d is null}}]}`))
	b.when("RetryRejects one", fleeting, play{})
	b.when("RetryRejects two", play{out: signals.RejectsRetried{Tried: 2, Filled: 2}})
	b.ExecuteWorkflow(RetryRejects, signals.RunningPlan{Migration: "m", FirstRun: "r", Plan: b.plan, PlanHash: hash})
	require.NoError(t, b.GetWorkflowError())
	var all signals.RejectsRetried
	require.NoError(t, b.GetWorkflowResult(&all))
	require.Equal(t, signals.RejectsRetried{Tried: 5, Filled: 3, Left: 1}, all)
	require.Equal(t, []string{"RetryRejects one", "RetryRejects two"}, b.keys())
	require.Equal(t, activities.BackfillInput{
		Origin:   activities.Origin{Migration: "m", FirstRun: "r", Plan: "p", PlanHash: hash, Database: "d", Step: "two"},
		Backfill: plan.Backfill{Table: "t", Set: map[string]string{"d": "b"}, Where: "d is null"},
	}, b.made("RetryRejects two")[0].in)
}
