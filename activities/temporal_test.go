package activities

import (
	"testing"

	"go.temporal.io/sdk/client"
)

func startOptions(queue string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{ID: queue, TaskQueue: queue}
}

// beating tells whether the server has heard of that many failures in a row, and searches what it has heard.
func (b *bundle) beating(t *testing.T, c client.Client, run client.WorkflowRun, atLeast int) bool {
	t.Helper()
	now, err := c.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
	if err != nil {
		return false // by a server that stands still
	}
	for _, pending := range now.GetPendingActivities() {
		details := pending.GetHeartbeatDetails().GetPayloads()
		for _, payload := range details {
			b.requireDiscreet(t, string(payload.GetData()))
		}
		if len(details) == 2 && failures(details[1].GetData()) >= atLeast {
			return true
		}
	}
	return false
}
