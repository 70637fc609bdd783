package tests

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
)

// maxEvents of the example's history, whatever the number of rows.
const maxEvents = 200

func TestHistoryDoesNotGrowWithRows(t *testing.T) {
	t.Parallel()
	did := map[int64][]string{}
	for _, rows := range []int64{1_000, 20_000} {
		b := setup(t, options{rows: rows})
		run := b.migrate()
		b.press("cutover", "approve", alice) // on the card, so that there is one to update
		b.press("contract", "approve", alice)
		require.Equal(t, rows, b.completes().Rows)
		b.keep("split", run.GetRunID())
		events := b.history("").Events
		t.Logf("%d rows: %d events", rows, len(events))
		require.Less(t, len(events), maxEvents)
		for _, e := range events {
			switch e.EventType {
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
				did[rows] = append(did[rows], e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName())
			case enumspb.EVENT_TYPE_TIMER_STARTED, enumspb.EVENT_TYPE_TIMER_CANCELED, enumspb.EVENT_TYPE_TIMER_FIRED:
				did[rows] = append(did[rows], e.EventType.String())
			}
		}
		slices.Sort(did[rows]) // what runs side by side ends in any order
	}
	// The same, one by one. Only workflow tasks may be a few more or less: things that end together share one.
	require.Equal(t, did[1_000], did[20_000])
}
