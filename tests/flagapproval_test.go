package tests

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// waitsForTheFlagService waits until Temporal shows, as the heartbeat of what runs, that people must approve a change there.
func (b *bundle) waitsForTheFlagService() {
	b.t.Helper()
	b.eventually("it says whom it waits for", func() bool {
		described, err := b.temporal.DescribeWorkflowExecution(b.t.Context(), b.plan.Name, "")
		if err != nil {
			return false
		}
		for _, running := range described.GetPendingActivities() {
			said := running.GetHeartbeatDetails().String()
			if running.GetActivityType().GetName() == "ApplyFlag" && strings.Contains(said, "waits for an approval in the flag service") &&
				strings.Contains(said, "/shop/production/features/customers-write-new") {
				return true
			}
		}
		return false
	})
	require.Zero(b.t, b.percent("customers-write-new"))
}

func TestAMigrationWaitsForAnApprovalInTheFlagServiceAndGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.flags.Require(1)
	b.migrate()
	b.waitsForTheFlagService()
	require.Equal(t, int64(2), b.count(`select count(*) from contraflow.audit where event = 'flag will wait'`), "it was known at its start")
	b.flags.Require(0) // the token's role may bypass approvals from now on
	b.approve("cutover")
	b.approve("contract")
	b.completes()
}

func TestAMigrationThatWaitsForTheFlagServiceCanBeRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.flags.Require(1)
	b.migrate()
	b.waitsForTheFlagService()
	b.say(signals.Rollback, signals.Request{By: "dave"})
	b.rollsBack()
	b.requireRolledBack()
}
