package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// byPeople is the example with people in place of lanes.
func byPeople(t *testing.T) *plan.Plan {
	p := example(t)
	p.Steps[p.StepIndex("fill")].Backfill = &plan.Backfill{Table: "customers", Manual: true, Where: "street is null"}
	return p
}

func TestAManualBackfillWaitsForPeople(t *testing.T) {
	t.Parallel()
	b := setup(t, byPeople(t))
	b.when("AwaitManual fill", play{after: 8 * time.Hour})
	b.approveAll()
	looked := false
	b.after(time.Hour, func() {
		looked = true
		s := b.status()
		require.Equal(t, signals.Waiting, s.State)
		require.Equal(t, "people to do the rows of step fill, until none matches where", s.Needs)
		require.Equal(t, signals.StepWaiting, b.step("fill").State)
	})
	b.completes()
	require.True(t, looked)
	require.Empty(t, b.made("PrepareBackfill"))
	require.Empty(t, b.made("BackfillLane"))
	require.Equal(t, signals.StepDone, b.step("fill").State)
	require.Equal(t, "none left", b.step("fill").Detail)
}

func TestWhatPeopleDidIsEvidenceAndNotUndone(t *testing.T) {
	t.Parallel()
	b := setup(t, byPeople(t))
	b.chat = true
	b.when("Migrate drop-old", permanent)
	b.approveAll()
	b.rollsBack()
	require.Contains(t, b.made("PostCard cutover")[0].in.(activities.Card).Evidence,
		activities.Evidence{Name: "fill", Value: "done by people, none left"})
	require.Equal(t, []string{undone[0], undone[2], undone[3]}, b.compensations())
}
