package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
)

// A backfill that an earlier run has begun must stand in the plan: nobody else would undo it.
func TestABackfillThatWasBegunKeepsItsName(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, in := b.rows(t, 3, "")
	b.prepare(t, in)
	b.acts.Alive = dead
	b.edit(t, "shop/plan.yaml", "name: fill", "name: filled")
	_, err := b.begin(t, "p", "run-2")
	requirePermanent(t, err, "BadPlan", "has begun the backfill of its step fill", "put the step back")
	b.edit(t, "shop/plan.yaml", "name: filled", "name: fill")
	again, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Equal(t, []int{0}, again.Begun)
}

// Behind the point of no return nothing is undone, but a trigger that no step removes would stand for ever.
func TestASyncTriggerWithoutAStepIsFoundBehindThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	b, begun := setupPurging(t)
	b.exec(t, "create table pairs (id int primary key, a int, b int)")
	in := BackfillInput{Origin: begun.origin("gone"), Backfill: plan.Backfill{Table: "pairs", Set: map[string]string{"b": "a"}, Where: "b is null", Sync: plan.SyncTrigger}}
	_, err := run[any](t, b, b.acts.InstallSync, in, call{})
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "drop-old", 3)
	require.NoError(t, err)
	_, err = b.begin(t, "p", "run-2")
	requirePermanent(t, err, "BadPlan", "in its step gone", "put the step back")
	_, err = run[any](t, b, b.acts.RemoveSync, in, call{})
	require.NoError(t, err)
	again, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Positive(t, again.ResumeAt)
}
