package workflows

import (
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/signals"
)

// Register makes a worker run all workflow types under the names that signals gives them.
func Register(r worker.WorkflowRegistry) {
	r.RegisterWorkflowWithOptions(Migration, workflow.RegisterOptions{Name: signals.Workflow})
	r.RegisterWorkflowWithOptions(RetryRejects, workflow.RegisterOptions{Name: signals.RetryRejectsWorkflow})
}
