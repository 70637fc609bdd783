package signals

import "time"

// State of a migration.
type State string

// States of a migration. The last three are final.
const (
	Running     State = "running"
	Waiting     State = "waiting" // for people, or for what they can end by one of Status.Answers, if there are any
	Paused      State = "paused"
	RollingBack State = "rolling_back"
	Stuck       State = "stuck" // needs one of Status.Answers
	Completed   State = "completed"
	RolledBack  State = "rolled_back"
	Failed      State = "failed" // ended without having changed anything, or behind the point of no return
)

// Final tells that nothing more will happen.
func (s State) Final() bool { return s == Completed || s == RolledBack || s == Failed }

// StepState of one step.
type StepState string

// States of a step.
const (
	StepPending      StepState = "pending"
	StepRunning      StepState = "running"
	StepWaiting      StepState = "waiting"
	StepDone         StepState = "done"
	StepFailed       StepState = "failed"
	StepCompensating StepState = "compensating"
	StepCompensated  StepState = "compensated"
	StepSkipped      StepState = "skipped" // given up by a person: the step itself or its compensation
)

// Status is everything the migration tells about itself.
type Status struct {
	Plan     string `json:"plan"`
	PlanHash string `json:"planHash"`
	Database string `json:"database"`
	State    State  `json:"state"`
	// Needs says in words what the migration waits for; "" when it works.
	Needs string `json:"needs,omitempty"`
	// Answers are the names of the signals that answer what a stuck migration asks, or that end what a waiting one waits for; none
	// while there is nothing to answer.
	Answers []string `json:"answers,omitempty"`
	// Question is the number of what Answers answer; 0 for none. Each question has a number of its own.
	Question int `json:"question,omitempty"`
	// Killed are the flags that the kill switch has turned off for everybody. A resume puts them back first.
	Killed []string `json:"killed,omitempty"`
	// Cause of a rollback or failure.
	Cause     string       `json:"cause,omitempty"`
	StartedBy string       `json:"startedBy,omitempty"`
	Started   time.Time    `json:"started"`
	Ended     time.Time    `json:"ended,omitzero"`
	Steps     []StepStatus `json:"steps"`
	Guard     *GuardStatus `json:"guard,omitempty"`
	// Approval is the one that is waited for, or nil.
	Approval *ApprovalStatus `json:"approval,omitempty"`
	// Rehearsal that the start brought along, or nil.
	Rehearsal *Rehearsal `json:"rehearsal,omitempty"`
	// Notices are refused decisions and other things a person should know, oldest first, bounded.
	Notices []Notice `json:"notices,omitempty"`
}

// StepStatus is one line of the table.
type StepStatus struct {
	Name    string    `json:"name"`
	Verb    string    `json:"verb"`
	State   StepState `json:"state"`
	Detail  string    `json:"detail,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Percent a flag step has reached, or Stage for migration flags; neither while any of its flags is killed.
	Percent int    `json:"percent,omitempty"`
	Stage   string `json:"stage,omitempty"`
	// Killed are the flags of the step that the kill switch has turned off for everybody.
	Killed []string `json:"killed,omitempty"`
	// Without says that the kill switch was pressed for contexts by name: the step's flags serve them the old shape.
	Without bool `json:"without,omitempty"`
	// Rows changed by a finished backfill.
	Rows int64 `json:"rows,omitempty"`
}

// GuardStatus tells which checks are watched.
type GuardStatus struct {
	Watching []string `json:"watching,omitempty"`
	// Verdict so far: healthy, failed or inconclusive.
	Verdict string `json:"verdict"`
	Reading string `json:"reading,omitempty"`
}

// ApprovalStatus is a step waiting for people.
type ApprovalStatus struct {
	Step      string     `json:"step"`
	By        []string   `json:"by"`
	Quorum    int        `json:"quorum"`
	Deadline  time.Time  `json:"deadline"`
	Decisions []Decision `json:"decisions,omitempty"`
}

// Notice is something that happened beside the steps.
type Notice struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Progress is the heartbeat of a lane: never a key, never a value.
type Progress struct {
	Step string `json:"step"`
	Lane int    `json:"lane"`
	// Rows changed so far by all attempts of the lane.
	Rows int64 `json:"rows"`
	// Scanned rows walked over in the present sweep of the lane, of about Total.
	Scanned int64 `json:"scanned"`
	Total   int64 `json:"total"`
	// RowsPerSecond changed and ScannedPerSecond walked over, smoothed over some seconds.
	RowsPerSecond    float64 `json:"rowsPerSecond"`
	ScannedPerSecond float64 `json:"scannedPerSecond,omitempty"`
	ChunkRows        int     `json:"chunkRows"`
	// Holding names what the lane waits for; "" when it works.
	Holding string `json:"holding,omitempty"`
	// Paced says that Holding is part of the pace, as under a cap: the lane goes on at its rate all the same.
	Paced bool `json:"paced,omitempty"`
}

// Manual is the heartbeat of a backfill that people do.
type Manual struct {
	Step string `json:"step"`
	// Left is how many rows still match the condition, AtFirst how many did when the step began to wait; -1 before the first count.
	Left    int64 `json:"left"`
	AtFirst int64 `json:"atFirst"`
}

// Reading is one check's standing in the heartbeat of the guard.
type Reading struct {
	Check   string    `json:"check"`
	Outcome string    `json:"outcome"` // pass, fail, error
	Reading string    `json:"reading,omitempty"`
	At      time.Time `json:"at"`
}

// Blocked is the heartbeat of a change of the schema, a sync trigger or a flag: what it waits for, and how far it has come.
type Blocked struct {
	Step string `json:"step"`
	// Text says what it waits for; "" when nothing is in the way.
	Text string `json:"text"`
	// Progress of an index that is being built; "" if none is.
	Progress string `json:"progress,omitempty"`
}

// Result of a completed migration.
type Result struct {
	Plan     string    `json:"plan"`
	PlanHash string    `json:"planHash"`
	Outcome  State     `json:"outcome"`
	Rows     int64     `json:"rows"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
}

// RolledBackType is the Temporal error type of a migration that was rolled back; its details are a RollbackReport.
const RolledBackType = "RolledBack"

// RollbackReport tells why and what was undone.
type RollbackReport struct {
	Plan     string `json:"plan"`
	PlanHash string `json:"planHash"`
	Cause    string `json:"cause"`
	// Compensations in the order in which they ran.
	Compensations []Compensated `json:"compensations"`
}

// Compensated is one line of the compensation log.
type Compensated struct {
	Step string `json:"step"`
	// Outcome: compensated or skipped.
	Outcome StepState `json:"outcome"`
	Detail  string    `json:"detail,omitempty"`
}
