// Package signals is what one may say to a running migration and ask of it: the names and payloads of its signals,
// update and query. Workflow, command line and gateway share it, and so may anyone's own tooling.
package signals

import "time"

// Workflow is the name of the one workflow type.
const Workflow = "Migration"

// TaskQueue is where workers listen unless configured otherwise.
const TaskQueue = "contraflow"

// Names of the signals.
const (
	Approve  = "approve"  // payload Decision
	Reject   = "reject"   // payload Decision
	Pause    = "pause"    // payload Request
	Resume   = "resume"   // payload Request
	Rollback = "rollback" // payload Request
	Retry    = "retry"    // payload Request: try again what the migration is stuck at
	Force    = "force"    // payload Request: do it all the same, where that is offered: over a stranger's change, or though a flag is in use
	Skip     = "skip"     // payload Request: give it up and go on without it
	Throttle = "throttle" // payload ThrottleRequest
)

// Decide is the validated update: payload Decision with Verdict set, result Receipt.
const Decide = "decide"

// Names of the queries.
const (
	StatusQuery = "status" // answers Status
	PlanQuery   = "plan"   // answers RunningPlan
)

// Verdict of one person on one step.
type Verdict string

// The two verdicts.
const (
	Approved Verdict = "approve"
	Rejected Verdict = "reject"
)

// Decision is one person's verdict on one step of one plan hash.
type Decision struct {
	Step string `json:"step"`
	By   string `json:"by"`
	// Verdict is implied by the name of a signal and needed by the update.
	Verdict Verdict `json:"verdict,omitempty"`
	Reason  string  `json:"reason,omitempty"`
	// PlanHash binds the decision to what was shown; the first twelve digits will do. A signal may leave it out.
	PlanHash string `json:"planHash,omitempty"`
	// Via tells where it came from: cli, slack, signal.
	Via string `json:"via,omitempty"`
	// At is when the migration took it in; set by the migration.
	At time.Time `json:"at,omitzero"`
}

// Receipt answers an accepted decision.
type Receipt struct {
	Step string `json:"step"`
	// Approvals so far, and how many are needed.
	Approvals int  `json:"approvals"`
	Quorum    int  `json:"quorum"`
	Decided   bool `json:"decided"`
}

// Request is what a person says with pause, resume, rollback, retry, force and skip.
type Request struct {
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Question that retry, force and skip answer, see Status.Question: while another one is asked they are refused. 0 answers any.
	Question int `json:"question,omitempty"`
}

// ThrottleRequest caps the running backfill; 0 takes the cap away.
type ThrottleRequest struct {
	RowsPerSecond int    `json:"rowsPerSecond"`
	By            string `json:"by,omitempty"`
}
