package signals

import "github.com/contraflow/contraflow/plan"

// RetryRejectsWorkflow is the name of the workflow type that tries a migration's rejects again.
const RetryRejectsWorkflow = "RetryRejects"

// RetryRejectsID is the workflow id under which the rejects of a migration are tried again: one attempt at a time.
func RetryRejectsID(migration string) string { return migration + "/retry-rejects" }

// RunningPlan is the plan of a migration as it was resolved and hashed. It answers PlanQuery and is the input of
// RetryRejectsWorkflow.
type RunningPlan struct {
	// Migration is the workflow id, FirstRun the run id that it had before any continue-as-new.
	Migration string     `json:"migration"`
	FirstRun  string     `json:"firstRun"`
	Plan      *plan.Plan `json:"plan"`
	PlanHash  string     `json:"planHash"`
}

// RejectsRetried is the result of RetryRejectsWorkflow, over all steps: counts alone, never a key.
type RejectsRetried struct {
	Tried int `json:"tried"`
	// Filled rows took their new values; Left are refused still. The others needed nothing any more.
	Filled int `json:"filled"`
	Left   int `json:"left"`
}
