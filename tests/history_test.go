package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
)

// maxEvents of the example's history, whatever the number of rows.
const maxEvents = 110

// countable are the events that a migration makes, without the workflow tasks they came by: what ends together on a slow machine
// shares one, and a task that timed out there is made again.
func countable(events []*historypb.HistoryEvent) (n int) {
	for _, e := range events {
		if !strings.HasPrefix(e.EventType.String(), "WorkflowTask") {
			n++
		}
	}
	return n
}

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
		t.Logf("%d rows: %d events, %d of them no workflow tasks", rows, len(events), countable(events))
		require.Less(t, countable(events), maxEvents)
		for _, e := range events {
			switch e.EventType {
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
				// What a local activity could not write in its few seconds, an Audit writes.
				if name := e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName(); name != "Audit" {
					did[rows] = append(did[rows], name)
				}
			case enumspb.EVENT_TYPE_TIMER_STARTED, enumspb.EVENT_TYPE_TIMER_CANCELED, enumspb.EVENT_TYPE_TIMER_FIRED:
				did[rows] = append(did[rows], e.EventType.String())
			}
		}
		slices.Sort(did[rows]) // what runs side by side ends in any order
	}
	// The same, one by one.
	require.Equal(t, did[1_000], did[20_000])
}
