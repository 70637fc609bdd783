package workflows

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/activities"
)

func TestTheStepsLockMannersHoldOnBothWays(t *testing.T) {
	t.Parallel()
	p := example(t)
	expand := p.Steps[p.StepIndex("expand")].Migrate
	expand.LockTimeout, expand.KillBlockers = 200_000_000, "idle in transaction > 5m"
	b := setup(t, p)
	b.when("Verify prove", permanent)
	b.approveAll()
	b.rollsBack()
	for _, key := range []string{"Migrate expand", "MigrateDown expand"} {
		in := b.made(key)[0].in.(activities.MigrateInput)
		require.Equal(t, 200*time.Millisecond, in.LockTimeout.Std(), key)
		require.Equal(t, 5*time.Minute, in.KillIdleAfter.Std(), key)
	}
}
