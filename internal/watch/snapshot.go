// Package watch shows a migration as Temporal alone tells it: its status query, the heartbeats of its activities and how
// it ended. It needs no database and no worker configuration; without a worker it shows what the server still knows.
package watch

import (
	"errors"
	"time"

	"github.com/contraflow/contraflow/signals"
)

// Outcome tells how a migration ended; "" while it runs.
type Outcome string

// The outcomes.
const (
	Completed  Outcome = "completed"
	RolledBack Outcome = "rolled_back"
	Failed     Outcome = "failed"
	Terminated Outcome = "terminated"
	Cancelled  Outcome = "cancelled"
	TimedOut   Outcome = "timed_out"
)

// Activity types whose heartbeats are shown.
const (
	activityLane    = "BackfillLane"  // signals.Progress
	activityProof   = "ProveBackfill" // signals.Progress
	activityManual  = "AwaitManual"   // signals.Manual
	activityGuard   = "WatchHealth"   // []signals.Reading, and more that is not for people
	activityMigrate = "Migrate"       // signals.Blocked, as of all below
	activitySync    = "InstallSync"
	activityUnsync  = "RemoveSync"

	activityFlag      = "ApplyFlag"
	activityUnflag    = "RestoreFlag"
	activityMayRetire = "MayRetire"
	activityRetire    = "RetireFlag"
)

// ErrUnknown says that Temporal has no such migration.
var ErrUnknown = errors.New("no such migration")

// ErrNamespace says that Temporal has no such namespace.
var ErrNamespace = errors.New("no such namespace")

// ErrUnreachable says that Temporal did not answer; trying again may help.
var ErrUnreachable = errors.New("the Temporal server does not answer")

// Snapshot is what is known of one migration at one moment.
type Snapshot struct {
	// At is when it was taken; durations are counted up to it, and times are shown in its zone.
	At    time.Time `json:"at"`
	ID    string    `json:"id"`
	RunID string    `json:"runId"`
	// Started and Ended as Temporal saw them; Ended is zero while the migration runs.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Status is nil when no worker answers.
	Status   *signals.Status    `json:"status,omitempty"`
	NoWorker bool               `json:"noWorker,omitempty"`
	Progress []signals.Progress `json:"progress,omitempty"`
	// Proving is the backfill step whose lanes are done and whose rows are counted afresh; "" when there is none.
	Proving string `json:"proving,omitempty"`
	// Manual is what people have left of a backfill that they do.
	Manual   *signals.Manual   `json:"manual,omitempty"`
	Readings []signals.Reading `json:"readings,omitempty"`
	Blocked  *signals.Blocked  `json:"blocked,omitempty"`
	// Pending are the activities that are in their second or a later attempt.
	Pending       []Pending `json:"pending,omitempty"`
	HistoryEvents int64     `json:"historyEvents"`
	Closed        bool      `json:"closed"`
	Outcome       Outcome   `json:"outcome,omitempty"`
	// Result of a completed migration.
	Result *signals.Result `json:"result,omitempty"`
	// Report of one that was rolled back.
	Report *signals.RollbackReport `json:"report,omitempty"`
	// Failure in words of any other end; "" when there is none.
	Failure string `json:"failure,omitempty"`
	// FailureType is the kind of a failed migration's error, for example BadPlan.
	FailureType string `json:"failureType,omitempty"`
}

// Pending is an activity that failed and is tried again.
type Pending struct {
	// Activity type; "" for the workflow's own code, which fails in the worker.
	Activity    string `json:"activity,omitempty"`
	Attempt     int32  `json:"attempt"`
	LastFailure string `json:"lastFailure,omitempty"`
	// NextAttempt is zero while an attempt runs.
	NextAttempt time.Time `json:"nextAttempt,omitzero"`
}

// plan is the plan's name as far as it is known.
func (s Snapshot) plan() string {
	switch {
	case s.Status != nil:
		return s.Status.Plan
	case s.Result != nil:
		return s.Result.Plan
	case s.Report != nil:
		return s.Report.Plan
	}
	return ""
}

// state in one word: how it ended, else what the worker says, else that it runs.
func (s Snapshot) state() string {
	switch {
	case s.Outcome != "":
		return string(s.Outcome)
	case s.Status != nil:
		return string(s.Status.State)
	}
	return string(signals.Running)
}

// lanes are a running backfill's heartbeats, added up.
type lanes struct {
	count                int
	rows, scanned, total int64
	perSecond            float64 // rows changed
	scannedPerSecond     float64 // rows walked over
	holding              bool    // whether any of them stands still
}

func (s Snapshot) lanes(step string) (l lanes) {
	for _, p := range s.Progress {
		if p.Step == step {
			l.count++
			l.rows += p.Rows
			l.scanned += p.Scanned
			l.total += p.Total
			l.perSecond += p.RowsPerSecond
			l.scannedPerSecond += p.ScannedPerSecond
			l.holding = l.holding || p.Holding != "" && !p.Paced
		}
	}
	return l
}

// share that is walked over, 0 to 1; 0 as long as the total is unknown.
func (l lanes) share() float64 {
	if l.total <= 0 {
		return 0
	}
	return min(float64(l.scanned)/float64(l.total), 1)
}

// left is the time until everything is walked over at the present pace; 0 when unknown. Nobody knows how long a lane holds.
func (l lanes) left() time.Duration {
	if l.scannedPerSecond <= 0 || l.holding || l.scanned >= l.total {
		return 0
	}
	return time.Duration(float64(l.total-l.scanned) / l.scannedPerSecond * float64(time.Second))
}

// remember fills in what now lacks for a moment only: the steps while no worker answers, readings between two slices of the
// guard, and lanes that finished before others of their step, so that the bar does not shrink.
func remember(before *Snapshot, now *Snapshot) {
	if before == nil || before.RunID != now.RunID || now.Closed {
		return
	}
	if now.Status == nil {
		now.Status = before.Status
	}
	if len(now.Readings) == 0 {
		now.Readings = before.Readings
	}
	for _, old := range before.Progress {
		if beats(now.Progress, old.Step, anyLane) && !beats(now.Progress, old.Step, old.Lane) {
			old.RowsPerSecond, old.ScannedPerSecond, old.Holding, old.Paced = 0, 0, "", false
			now.Progress = append(now.Progress, old)
		}
	}
}

const anyLane = -1

// beats tells whether a lane of a step is there.
func beats(all []signals.Progress, step string, lane int) bool {
	for _, p := range all {
		if p.Step == step && (lane == anyLane || p.Lane == lane) {
			return true
		}
	}
	return false
}
