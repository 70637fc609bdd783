package watch

import (
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/contraflow/contraflow/signals"
)

// Whatever a change waits for is shown, be it of the schema, a sync trigger or a flag.
func TestWhatIsWaitedForIsShown(t *testing.T) {
	t.Parallel()
	told := signals.Blocked{Step: "write-new", Text: "flag k waits for 1 of 2 instances: shop-7 (version 11, 3s ago)"}
	beat, err := converter.GetDefaultDataConverter().ToPayloads(told)
	require.NoError(t, err)
	for _, activity := range []string{"Migrate", "MigrateDown", "InstallSync", "RemoveSync", "ApplyFlag", "RestoreFlag", "MayRetire", "RetireFlag"} {
		var s Snapshot
		s.readActivities([]*workflowpb.PendingActivityInfo{{ActivityType: &commonpb.ActivityType{Name: activity}, HeartbeatDetails: beat}})
		require.Equal(t, &told, s.Blocked, activity)
		require.NotEqual(t, activity, activityWords(activity), "people call it something else")
	}
}
