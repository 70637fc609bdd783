package watch

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/contraflow/contraflow/signals"
)

// A migration writes what is in the way of retiring flags one below the other.
func TestObstaclesAreKeptApart(t *testing.T) {
	t.Parallel()
	s := stuck()
	s.Status.Needs = "step away: flag a is active\nflag a is a prerequisite of c"
	s.Status.Steps[5].Detail = s.Status.Needs
	lines := strings.Join(Render(s, Style{Width: 200}), "\n")
	require.Equal(t, 2, strings.Count(lines, "flag a is active; flag a is a prerequisite of c"), lines)
	require.Contains(t, RenderList([]Entry{{ID: "m", Needs: s.Status.Needs}}, s.At, Style{Width: 200})[1], "is active; flag a")
}

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
