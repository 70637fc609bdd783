package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/activities"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// state is all that one run hands to the next when it continues as new.
type state struct {
	Input           signals.Input        `json:"input"`
	FirstRun        string               `json:"firstRun"`
	Started         time.Time            `json:"started"`
	Ended           time.Time            `json:"ended,omitzero"`
	Plan            *plan.Plan           `json:"plan,omitempty"`
	PlanHash        string               `json:"planHash,omitempty"`
	Schema          activities.Schema    `json:"schema,omitzero"`
	Chat            bool                 `json:"chat,omitempty"` // whether the worker has a chat to post to
	PointOfNoReturn bool                 `json:"pointOfNoReturn,omitempty"`
	Steps           []signals.StepStatus `json:"steps,omitempty"`
	Step            int                  `json:"step"` // index of the current step

	stepState

	// Skipped is how far the steps had come that people have given up.
	Skipped map[int]stepState `json:"skipped,omitempty"`

	State signals.State `json:"state,omitempty"` // final states only; else derived
	Cause string        `json:"cause,omitempty"`
	// Compensations are the steps to undo, ascending: newest last.
	Compensations []int `json:"compensations,omitempty"`
	// Unsynced are the steps whose sync triggers are known to be gone.
	Unsynced    []int                 `json:"unsynced,omitempty"`
	RollingBack bool                  `json:"rollingBack,omitempty"`
	Log         []signals.Compensated `json:"log,omitempty"`

	Pausing       *pausing                `json:"pausing,omitempty"`
	Aside         []string                `json:"aside,omitempty"`     // checks that are not watched until a person resumes
	Blind         bool                    `json:"blind,omitempty"`     // whether the kill switch isn't, either
	Kills         int64                   `json:"kills,omitempty"`     // the latest press of the kill switch that is known
	Off           *killing                `json:"off,omitempty"`       // what it has turned off for everybody, until that is put back
	Pressed       string                  `json:"pressed,omitempty"`   // who has pressed it, if only for one context, and nobody has resumed since
	Alone         bool                    `json:"alone,omitempty"`     // whether it was ever pressed for contexts by name
	Forbidden     bool                    `json:"forbidden,omitempty"` // whether it has ever forbidden a step
	Soaked        time.Time               `json:"soaked,omitzero"`     // end of the latest soak that has ended
	Steered       bool                    `json:"steered,omitempty"`   // whether anybody has paused, resumed or throttled
	RowsPerSecond int                     `json:"rowsPerSecond,omitempty"`
	Guard         *signals.GuardStatus    `json:"guard,omitempty"`
	Approval      *signals.ApprovalStatus `json:"approval,omitempty"`
	Card          activities.CardRef      `json:"card,omitzero"`        // of the open approval
	Shown         []activities.Evidence   `json:"shown,omitempty"`      // what that card says; nil while there is none
	FirstAsked    string                  `json:"firstAsked,omitempty"` // step whose card tells of the rehearsal
	Rehearsal     *signals.Rehearsal      `json:"rehearsal,omitempty"`
	Thread        activities.CardRef      `json:"thread,omitzero"` // latest card: notices go below it
	Evidence      []activities.Evidence   `json:"evidence,omitempty"`
	Notices       []signals.Notice        `json:"notices,omitempty"`
	Audit         []activities.AuditEvent `json:"audit,omitempty"`     // decisions not yet written
	Questions     int                     `json:"questions,omitempty"` // how many there were: they are numbered
	Audited       int                     `json:"audited,omitempty"`   // how many there were, so that each has a key of its own
}

// stepState belongs to the current step alone.
type stepState struct {
	Stage    int       `json:"stage,omitempty"`   // of a flag's rollout
	Key      int       `json:"key,omitempty"`     // how many of the flags that move together have reached it
	Forced   bool      `json:"forced,omitempty"`  // whether a person wants the next change made all the same
	Waiting  int       `json:"waiting,omitempty"` // number of the question how to end what it waits for; 0 for none
	Given    answer    `json:"given,omitempty"`   // what a person has said to that, until it is done
	Back     []string  `json:"back,omitempty"`    // flags that the compensation has put back or left, in words
	Left     bool      `json:"left,omitempty"`    // whether people have left a flag as it is: any of Back, or the next one to move
	Until    time.Time `json:"until,omitzero"`    // end of a soak that has begun
	Deadline time.Time `json:"deadline,omitzero"` // of the step's timeout
}

type pausing struct {
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

type continued struct {
	State *state `json:"state"`
}

// restore reads the input of a new migration or the state of the run before.
func (m *migration) restore(raw json.RawMessage) error {
	var before continued
	info := workflow.GetInfo(m.ctx)
	if info.ContinuedExecutionRunID != "" && json.Unmarshal(raw, &before) == nil && before.State != nil {
		m.state = *before.State
		return nil
	}
	in, err := signals.ParseInput(raw)
	if err != nil {
		return err
	}
	m.Input, m.Rehearsal, m.Started, m.FirstRun = in, in.Rehearsal, workflow.Now(m.ctx), info.FirstRunID
	if m.FirstRun == "" { // the test environment names no first run
		m.FirstRun = info.WorkflowExecution.RunID
	}
	return nil
}

// considerContinuing halts the steps when the history has grown so long that the server suggests a new run. A question stays
// in the run that asked it: a new one would try again what a person has been asked about.
func (m *migration) considerContinuing() {
	if m.asked == nil && workflow.GetInfo(m.ctx).GetContinueAsNewSuggested() {
		m.interrupt(toContinueAsNew, "")
	}
}

// interrupt halts the steps. Rolling back wins over continuing as new, and the first cause stays.
func (m *migration) interrupt(why interruption, cause string) {
	if m.interrupted == toRollBack || m.RollingBack {
		return
	}
	m.interrupted = why
	if why == toRollBack {
		m.Cause = cause
	}
	if m.halt != nil {
		m.halt()
	}
}

// continuing tells that a new run is all that the steps were halted for.
func (m *migration) continuing() bool {
	return m.interrupted == toContinueAsNew && m.ctx.Err() == nil
}

// settle waits for what is on its way and takes in what has arrived: a new run would not see it. It may be what ends this
// migration, so a new run is decided on afterwards.
func (m *migration) settle() {
	ctx := m.disconnected()
	settled := func() bool {
		return workflow.AllHandlersFinished(ctx) && m.posting == 0 || !m.RollingBack && !m.continuing()
	}
	for {
		_ = workflow.Await(ctx, settled) // nothing cancels this context
		m.catchUp()
		if settled() { // what was heard last may have been refused, and people are still to be told
			return
		}
	}
}

// continueAsNew hands the state to a new run.
func (m *migration) continueAsNew() error {
	raw, err := json.Marshal(continued{State: &m.state})
	if err != nil {
		return fmt.Errorf("continue as new: %w", err)
	}
	return workflow.NewContinueAsNewError(m.ctx, Migration, json.RawMessage(raw))
}

func (m *migration) current() *signals.StepStatus { return &m.Steps[m.Step] }

func (m *migration) origin() activities.Origin {
	o := activities.Origin{Migration: workflow.GetInfo(m.ctx).WorkflowExecution.ID, FirstRun: m.FirstRun, PlanHash: m.PlanHash}
	if m.Plan != nil {
		o.Plan, o.Database = m.Plan.Name, m.Plan.Database
	}
	return o
}

// at is the origin of something that belongs to a step.
func (m *migration) at(step plan.Step) activities.Origin {
	o := m.origin()
	o.Step = step.Name
	return o
}

func (m *migration) rows() int64 {
	var rows int64
	for _, s := range m.Steps {
		rows += s.Rows
	}
	return rows
}

func (m *migration) addEvidence(name, format string, args ...any) {
	m.Evidence = append(m.Evidence, activities.Evidence{Name: name, Value: fmt.Sprintf(format, args...)})
}

// restate replaces what a step has proved, in its status and for those who approve: two lines of one proof can't both be true.
func (m *migration) restate(step string, state signals.StepState, detail, evidence string) {
	status := &m.Steps[m.Plan.StepIndex(step)]
	status.State, status.Detail = state, detail
	m.Evidence = slices.DeleteFunc(m.Evidence, func(e activities.Evidence) bool { return e.Name == step })
	m.addEvidence(step, "%s", evidence)
	m.show()
}
