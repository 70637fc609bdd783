package watch

import (
	"context"
	"fmt"
	"sync"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/signals"
)

// Entry is one line of the list of migrations.
type Entry struct {
	ID      string    `json:"id"`
	RunID   string    `json:"runId"`
	State   string    `json:"state"`
	Needs   string    `json:"needs,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Side by side, so that a list of twenty without a worker takes seconds and not half a minute.
const listLookups = 8

// List tells of the open migrations and the ones that ended last, limit in all, the open ones first. Temporal's list may lag
// behind by a second or so. Errors as of Fetch.
func List(ctx context.Context, c client.Client, limit int) ([]Entry, error) {
	answer, cancel := Within(ctx, answerTimeout)
	defer cancel()
	listed, err := c.ListWorkflow(answer, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(limit),
		Query:    fmt.Sprintf("WorkflowType = '%s' AND ExecutionStatus != 'ContinuedAsNew'", signals.Workflow),
	})
	if err != nil {
		return nil, Explain(err, "list the migrations")
	}
	found := listed.GetExecutions()
	entries := make([]Entry, len(found))
	slots := make(chan struct{}, listLookups)
	var looking sync.WaitGroup
	for i, info := range found {
		looking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			entries[i] = entry(ctx, c, info)
		})
	}
	looking.Wait()
	return entries, ctx.Err()
}

// entry asks for the state only where the list does not tell it; what can't be learnt stays as Temporal names it.
func entry(ctx context.Context, c client.Client, info *workflowpb.WorkflowExecutionInfo) Entry {
	e := Entry{ID: info.GetExecution().GetWorkflowId(), RunID: info.GetExecution().GetRunId(), Started: info.GetStartTime().AsTime()}
	ctx, cancel := Within(ctx, answerTimeout)
	defer cancel()
	if info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
		e.State = string(signals.Running)
		if st, noWorker, err := queryStatus(ctx, c, e.ID, e.RunID); st != nil {
			e.State, e.Needs = string(st.State), st.Needs
		} else if err == nil && noWorker {
			e.Needs = "no worker answers"
		}
		return e
	}
	e.Ended = info.GetCloseTime().AsTime()
	switch info.GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		e.State = string(Completed)
	case enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:
		e.State = string(Terminated)
	case enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:
		e.State = string(Cancelled)
	case enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:
		e.State = string(TimedOut)
	default:
		e.State = string(Failed)
		if event, err := closeEvent(ctx, c, e.ID, e.RunID); err == nil {
			outcome, _ := end(event)
			e.State = string(outcome)
		}
	}
	return e
}

// shortRun digits tell the runs of one id apart.
const shortRun = 6

// tail of a run's id: run ids begin with the time, so those of one day begin alike.
func tail(runID string) string {
	runID = clean(runID)
	return runID[max(len(runID)-shortRun, 0):]
}

// RenderList draws the list as a table; times are shown in the zone of now.
func RenderList(entries []Entry, now time.Time, style Style) []string {
	if len(entries) == 0 {
		return []string{"No migrations. Start one: contraflow start PLAN"}
	}
	if style.Width == 0 {
		style.Width = defaultWidth
	}
	rows := []line{{{"ID", plain}, {"RUN", dim}, {"STATE", plain}, {"STARTED", dim}, {"ENDED", dim}, {"NEEDS", plain}}}
	for _, e := range entries {
		glyph, c := stateGlyph(e.State)
		ended := ""
		if !e.Ended.IsZero() {
			ended = clock(e.Ended, now)
		}
		rows = append(rows, line{{clean(e.ID), plain}, {tail(e.RunID), dim}, {glyph + " " + words(e.State), c},
			{clock(e.Started, now), dim}, {ended, dim}, {points(e.Needs), plain}})
	}
	for column := range len(rows[0]) - 1 { // as narrow as may be: what a migration needs has the rest
		widest := 0
		for _, r := range rows {
			widest = max(widest, width(r[column].text))
		}
		for _, r := range rows {
			r[column].text = pad(r[column].text, widest+2)
		}
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, r.fit(style.Width).render(style.Color))
	}
	return lines
}
