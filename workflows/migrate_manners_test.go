package workflows

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
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

// Temporal's test environment drops what a cancelled activity says; a server doesn't.
func TestATimeoutSaysWhatWasWaitedFor(t *testing.T) {
	t.Parallel()
	up := plan.Step{Name: "expand", Migrate: &plan.Migrate{To: 2}}
	told := fmt.Errorf("activity error: %w", temporal.NewCanceledError("AccessExclusiveLock on customers, blocked by pid 7"))
	require.Equal(t, "; it waited for AccessExclusiveLock on customers, blocked by pid 7", waitedFor(up, told))
	for _, silent := range []error{temporal.NewCanceledError(), errors.New("gone"), nil} {
		require.Empty(t, waitedFor(up, silent))
	}
	require.Empty(t, waitedFor(plan.Step{Name: "ask", Approve: &plan.Approve{}}, temporal.NewCanceledError("Await context canceled")))
}
