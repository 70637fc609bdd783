package activities

import (
	"time"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// Origin says on whose behalf an activity acts: every input carries it, and so does every row of the audit.
type Origin struct {
	// Migration is the workflow id, and FirstRun the run id it had before any continue-as-new.
	Migration string `json:"migration"`
	FirstRun  string `json:"firstRun"`
	Plan      string `json:"plan"`
	PlanHash  string `json:"planHash"`
	// Database is the name in the worker's configuration.
	Database string `json:"database"`
	// Step that acts; "" outside steps.
	Step string `json:"step,omitempty"`
}

// BeginInput is what a migration was started with.
type BeginInput struct {
	Origin Origin        `json:"origin"`
	Input  signals.Input `json:"input"`
}

// Begun is the plan as resolved and checked against the world.
type Begun struct {
	Plan   *plan.Plan `json:"plan"`
	Hash   string     `json:"hash"`
	Schema Schema     `json:"schema"`
	// ResumeAt is the index of the step to begin with: above 0 an earlier run has already passed the point of no return.
	ResumeAt int `json:"resumeAt,omitempty"`
	// Begun are the indexes of steps that a run which was cut off has begun, ascending: they are undone with this one's.
	Begun []int `json:"begun,omitempty"`
	// Chat says that the worker has a chat to post to.
	Chat bool `json:"chat,omitempty"`
}

// Schema is the folder of SQL files that was hashed into the plan hash.
type Schema struct {
	// Folder below the worker's plan root.
	Folder string `json:"folder,omitempty"`
	// Highest version that belongs to the plan.
	Highest uint `json:"highest,omitempty"`
	// Digest over the names and sums of all files up to Highest.
	Digest string `json:"digest,omitempty"`
}

// MigrateInput brings the schema up to To; MigrateDown takes what this plan applied above Floor down again.
type MigrateInput struct {
	Origin Origin `json:"origin"`
	Schema Schema `json:"schema"`
	To     uint   `json:"to"`
	Floor  uint   `json:"floor"`
	// LockTimeout bounds each wait for a lock; 0 is the engine's own default.
	LockTimeout plan.Duration `json:"lockTimeout,omitempty"`
	// KillIdleAfter is how long a session in the way must have idled in its transaction to be ended; 0 ends nobody's.
	KillIdleAfter plan.Duration `json:"killIdleAfter,omitempty"`
	// Irreversible says that nothing undoes these versions.
	Irreversible bool `json:"irreversible,omitempty"`
	// Kills is the id of the latest press of the kill switch that people have seen and resumed from: later ones forbid what is
	// irreversible.
	Kills int64 `json:"kills,omitempty"`
	// Flags is where the plan's flags live; nil for a plan without.
	Flags *plan.FlagScope `json:"flags,omitempty"`
	// Force says that a person wants the old shape to go though somebody lives in it by the kill switch.
	Force bool `json:"force,omitempty"`
	// Proofs are the verifications behind which the step stands, to be asked again because flags were off meanwhile.
	Proofs []Proof `json:"proofs,omitempty"`
	// Synced are the backfills whose sync triggers go before the old shape does.
	Synced []BackfillInput `json:"synced,omitempty"`
}

// Proof is the verification of an earlier step.
type Proof struct {
	Step   string      `json:"step"`
	Verify plan.Verify `json:"verify"`
}

// Migrated tells what one call did.
type Migrated struct {
	// Versions applied or taken down, in that order; none when there was nothing left to do.
	Versions []uint `json:"versions,omitempty"`
	// Version the schema stands at afterwards.
	Version uint `json:"version"`
}

// FlagInput names a flag and what it shall serve.
type FlagInput struct {
	Origin      Origin              `json:"origin"`
	Scope       plan.FlagScope      `json:"scope"`
	Key         string              `json:"key"`
	Percent     int                 `json:"percent,omitempty"`
	Stage       string              `json:"stage,omitempty"` // of a migration flag, instead of Percent
	ContextKind string              `json:"contextKind,omitempty"`
	Targets     map[string][]string `json:"targets,omitempty"`
	Segments    []string            `json:"segments,omitempty"`
	// Attest makes the change wait for the application's instances.
	Attest *plan.Attest `json:"attest,omitempty"`
	// Create makes the flag if it is missing.
	Create *plan.Create `json:"create,omitempty"`
	// Force says that a person has seen a stranger's change and agreed to change the flag all the same.
	Force bool `json:"force,omitempty"`
	// Kills is the id of the latest press of the kill switch that people have seen and resumed from: later ones forbid the change.
	Kills int64 `json:"kills,omitempty"`
}

// RetireInput names the flags of a retire step.
type RetireInput struct {
	Origin Origin         `json:"origin"`
	Scope  plan.FlagScope `json:"scope"`
	Retire plan.Retire    `json:"retire"`
}

// FlagNow is what the flag serves after a change.
type FlagNow struct {
	Summary string `json:"summary"`
	Version int    `json:"version"`
	// Out is how many of the contexts that the plan names stay off, because the kill switch was pressed for them.
	Out int `json:"out,omitempty"`
}

// BackfillInput names a backfill step.
type BackfillInput struct {
	Origin   Origin        `json:"origin"`
	Backfill plan.Backfill `json:"backfill"`
	Lane     int           `json:"lane,omitempty"`
	// Control is how the lanes begin; nil leaves the control row as it stands, for it may have been set by hand.
	Control *Control `json:"control,omitempty"`
	// Total rows estimated, repeated in the heartbeats.
	Total int64 `json:"total,omitempty"`
	// Undoing says that the step is being compensated.
	Undoing bool `json:"undoing,omitempty"`
}

// BackfillPrepared tells how the table was split.
type BackfillPrepared struct {
	Lanes []int `json:"lanes"`
	// Total is an estimate of the rows to change.
	Total int64 `json:"total"`
	// Resumed says that checkpoints of an earlier run were found.
	Resumed bool `json:"resumed,omitempty"`
	// Restarted says that checkpoints were found but of another expression, so that the backfill starts afresh.
	Restarted bool `json:"restarted,omitempty"`
}

// LaneDone is the end of a lane.
type LaneDone struct {
	Rows int64 `json:"rows"`
}

// BackfillProven says that no row was left.
type BackfillProven struct {
	// Rows changed by all lanes and sweeps of this plan's backfill.
	Rows int64 `json:"rows"`
	// Rejects are rows set aside because their new values were refused.
	Rejects int64 `json:"rejects,omitempty"`
}

// NoCap as Control.RowsPerSecond lifts the plan's own cap.
const NoCap = backfill.NoCap

// Control is what people let a backfill do.
type Control struct {
	Paused bool `json:"paused"`
	// RowsPerSecond of all lanes together: 0 as the plan says, NoCap for none.
	RowsPerSecond int `json:"rowsPerSecond"`
}

// ControlInput pauses, resumes and caps a running backfill.
type ControlInput struct {
	Origin Origin `json:"origin"`
	Control
}

// VerifyInput is a proof by query.
type VerifyInput struct {
	Origin Origin      `json:"origin"`
	Verify plan.Verify `json:"verify"`
}

// Verified is the number that the query returned.
type Verified struct {
	Number float64 `json:"number"`
}

// WatchInput lists the checks to watch.
type WatchInput struct {
	Origin   Origin        `json:"origin"`
	Interval plan.Duration `json:"interval"`
	Checks   []plan.Check  `json:"checks"`
	// Kills is the id of the latest press of the kill switch that is known already.
	Kills int64 `json:"kills,omitempty"`
}

// Outcomes of watching.
const (
	Healthy      = "healthy"
	Unhealthy    = "failed"
	Inconclusive = "inconclusive"
	Killed       = "killed" // somebody has pressed the kill switch
)

// GuardVerdict ends a slice of watching.
type GuardVerdict struct {
	Outcome string `json:"outcome"`
	Check   string `json:"check,omitempty"`
	Reading string `json:"reading,omitempty"`
	// Kill is the id of the latest press of the kill switch, and KilledFlags those that were turned off for everybody.
	Kill        int64    `json:"kill,omitempty"`
	KilledFlags []string `json:"killedFlags,omitempty"`
	// Alone says that contexts were turned off by name.
	Alone bool `json:"alone,omitempty"`
	// Since is when the first of them was pressed for, by the worker's clock.
	Since time.Time `json:"since,omitzero"`
}

// Card is an approval as people see it.
type Card struct {
	Origin      Origin                 `json:"origin"`
	Description string                 `json:"description,omitempty"`
	Evidence    []Evidence             `json:"evidence,omitempty"`
	Approval    signals.ApprovalStatus `json:"approval"`
	// State: waiting, approved, rejected, expired, cancelled.
	State string `json:"state"`
	// Ref of the posted card, when it is to be updated.
	Ref CardRef `json:"ref,omitzero"`
}

// CardRef is where a card was posted.
type CardRef struct {
	Channel string `json:"channel,omitempty"`
	TS      string `json:"ts,omitempty"`
}

// Evidence is one line of facts on a card.
type Evidence struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NoticeInput is a plain message.
type NoticeInput struct {
	Origin Origin `json:"origin"`
	// Kind: progress, completed, rolling_back, rolled_back, stuck, refused.
	Kind string `json:"kind"`
	Text string `json:"text"`
	// Ref of the card whose thread it belongs to, if any.
	Ref CardRef `json:"ref,omitzero"`
}

// AuditInput records what happened outside any other activity.
type AuditInput struct {
	Origin Origin       `json:"origin"`
	Events []AuditEvent `json:"events"`
}

// AuditEvent is one row.
type AuditEvent struct {
	// Key tells events of one migration apart, so that a repeated attempt writes one row.
	Key    string    `json:"key"`
	Event  string    `json:"event"`
	Step   string    `json:"step,omitempty"`
	Actor  string    `json:"actor,omitempty"`
	Detail string    `json:"detail,omitempty"`
	At     time.Time `json:"at"`
}

// FinishInput closes the migration's claim on its plan.
type FinishInput struct {
	Origin  Origin        `json:"origin"`
	Outcome signals.State `json:"outcome"`
	Detail  string        `json:"detail,omitempty"`
}
