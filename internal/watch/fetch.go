package watch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/contraflow/contraflow/signals"
)

const (
	// A server that is alive answers in milliseconds, one that stalls in seconds; longer than that and a person wants to be told.
	answerTimeout = 10 * time.Second
	// A worker that is alive answers a query in milliseconds, also after a replay of a few hundred events. A machine that does much
	// else may take a second or two, and a decision shall not go without the hash of its plan for that.
	queryTimeout = 3 * time.Second
	// Runs of one migration that continued as new are followed this far; each of them holds thousands of events.
	maxRuns = 1000
)

// Within bounds one call to Temporal by d, of ten seconds at most: the SDK gives a call half of the time that its context has left.
func Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 2*d)
}

// Fetch takes a snapshot of a migration; runID "" stands for the latest run, and runs that continued as new are followed.
// The error is ErrUnknown, ErrUnreachable, ctx's own, or what Temporal said.
func Fetch(ctx context.Context, c client.Client, id, runID string) (Snapshot, error) {
	for range maxRuns {
		s, next, err := fetchRun(ctx, c, id, runID)
		if err != nil {
			return Snapshot{}, Explain(err, "look at migration "+id)
		}
		if next == "" {
			return s, nil
		}
		runID = next
	}
	return Snapshot{}, fmt.Errorf("look at migration %s: it continued as new %d times: name a later run", id, maxRuns)
}

// fetchRun looks at one run; next is the run that continues it, or "".
func fetchRun(ctx context.Context, c client.Client, id, runID string) (s Snapshot, next string, err error) {
	answer, cancel := Within(ctx, answerTimeout)
	defer cancel()
	desc, err := c.DescribeWorkflowExecution(answer, id, runID)
	if err != nil {
		return Snapshot{}, "", err
	}
	info := desc.GetWorkflowExecutionInfo()
	runID = info.GetExecution().GetRunId()
	s = Snapshot{
		At: time.Now(), ID: id, RunID: runID, HistoryEvents: info.GetHistoryLength(),
		Started: info.GetStartTime().AsTime(), Closed: info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING,
	}
	if s.Closed {
		s.Ended = info.GetCloseTime().AsTime()
		if next, err = s.readEnd(answer, c, runID); err != nil || next != "" {
			return Snapshot{}, next, err
		}
	}
	s.readActivities(desc.GetPendingActivities())
	if task := desc.GetPendingWorkflowTask(); task.GetAttempt() > 1 {
		s.Pending = append(s.Pending, Pending{Attempt: task.GetAttempt()})
	}
	s.Status, s.NoWorker, err = queryStatus(ctx, c, id, runID)
	s.tellManual()
	return s, "", err
}

type patienceKey struct{}

// Patient lets a worker take more time than usual before it counts as away: for who knows that one is there, on a machine that does
// much else.
func Patient(ctx context.Context, more time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, more)
}

func patience(ctx context.Context) time.Duration {
	more, _ := ctx.Value(patienceKey{}).(time.Duration)
	return more
}

// queryStatus asks the worker. Only ctx's end is an error: without an answer the rest of the snapshot is still worth seeing.
func queryStatus(ctx context.Context, c client.Client, id, runID string) (st *signals.Status, noWorker bool, err error) {
	asked, cancel := Within(ctx, queryTimeout+patience(ctx))
	defer cancel()
	value, err := c.QueryWorkflow(asked, id, runID, signals.StatusQuery)
	if err == nil {
		st = new(signals.Status)
		err = value.Get(st)
		if st.Steps == nil {
			st.Steps = []signals.StepStatus{} // none known is an empty list in JSON
		}
	}
	var refused *serviceerror.QueryFailed
	var early *serviceerror.WorkflowNotReady
	switch {
	case err == nil:
		return st, false, nil
	case ctx.Err() != nil:
		return nil, false, ctx.Err()
	case errors.As(err, &refused) || errors.As(err, &early): // somebody is there
		return nil, false, nil
	}
	return nil, true, nil
}

// tellManual says in the step's detail how much people have left, which only the heartbeat knows.
func (s *Snapshot) tellManual() {
	if s.Manual == nil || s.Status == nil {
		return
	}
	for i := range s.Status.Steps {
		if step := &s.Status.Steps[i]; step.Name == s.Manual.Step && step.State == signals.StepWaiting {
			step.Detail = leftToPeople(s.Manual.Left)
		}
	}
}

func leftToPeople(rows int64) string {
	if rows == 1 {
		return "1 row left for people to do"
	}
	return number(rows) + " rows left for people to do"
}

func (s *Snapshot) readActivities(pending []*workflowpb.PendingActivityInfo) {
	for _, a := range pending {
		name := a.GetActivityType().GetName()
		switch name {
		case activityLane:
			var p signals.Progress
			if decode(a.GetHeartbeatDetails(), &p) {
				s.Progress = append(s.Progress, p)
			}
		case activityProof:
			var p signals.Progress
			if decode(a.GetHeartbeatDetails(), &p) {
				s.Proving = p.Step
			}
		case activityManual:
			var m signals.Manual
			if decode(a.GetHeartbeatDetails(), &m) && m.Left >= 0 {
				s.Manual = &m
			}
		case activityGuard:
			var readings []signals.Reading
			if decode(a.GetHeartbeatDetails(), &readings) {
				s.Readings = append(s.Readings, readings...)
			}
		case activityMigrate, "MigrateDown", activitySync, activityUnsync, activityFlag, activityUnflag, activityMayRetire, activityRetire:
			var b signals.Blocked
			if decode(a.GetHeartbeatDetails(), &b) && (b.Text != "" || b.Progress != "") {
				s.Blocked = &b
			}
		}
		if a.GetAttempt() < 2 || recovered(a) {
			continue
		}
		p := Pending{Activity: name, Attempt: a.GetAttempt(), LastFailure: message(a.GetLastFailure())}
		if a.GetState() == enumspb.PENDING_ACTIVITY_STATE_SCHEDULED && a.GetScheduledTime() != nil {
			p.NextAttempt = a.GetScheduledTime().AsTime()
		}
		s.Pending = append(s.Pending, p)
	}
	slices.SortStableFunc(s.Progress, func(a, b signals.Progress) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Lane, b.Lane))
	})
	slices.SortStableFunc(s.Pending, func(a, b Pending) int { return cmp.Compare(a.Activity, b.Activity) })
}

// recovered tells that the attempt that runs now has beaten: what failed before it holds nothing up any more.
func recovered(a *workflowpb.PendingActivityInfo) bool {
	return a.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED && a.GetLastHeartbeatTime() != nil &&
		a.GetLastHeartbeatTime().AsTime().After(a.GetLastStartedTime().AsTime())
}

// readEnd reads the last event of a closed run; next is the run that continues it, or "".
func (s *Snapshot) readEnd(ctx context.Context, c client.Client, runID string) (next string, err error) {
	event, err := closeEvent(ctx, c, s.ID, runID)
	if err != nil {
		return "", err
	}
	if continued := event.GetWorkflowExecutionContinuedAsNewEventAttributes(); continued != nil {
		return continued.GetNewExecutionRunId(), nil
	}
	s.Outcome, s.Failure = end(event)
	switch s.Outcome {
	case Completed:
		var result signals.Result
		if decode(event.GetWorkflowExecutionCompletedEventAttributes().GetResult(), &result) {
			s.Result = &result
		}
	case Failed:
		var failed *temporal.ApplicationError
		if errors.As(failure(event), &failed) {
			s.FailureType = failed.Type()
		}
	case RolledBack:
		var failed *temporal.ApplicationError
		var report signals.RollbackReport
		if errors.As(failure(event), &failed) && failed.HasDetails() && failed.Details(&report) == nil {
			if report.Compensations == nil {
				report.Compensations = []signals.Compensated{}
			}
			s.Report = &report
			s.Failure = ""
		}
	}
	return "", nil
}

func closeEvent(ctx context.Context, c client.Client, id, runID string) (*historypb.HistoryEvent, error) {
	events := c.GetWorkflowHistory(ctx, id, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	return events.Next()
}

// end is the outcome that a closing event tells, and the failure in words.
func end(event *historypb.HistoryEvent) (Outcome, string) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		return Completed, ""
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		return Terminated, event.GetWorkflowExecutionTerminatedEventAttributes().GetReason()
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		return Cancelled, ""
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		return TimedOut, ""
	}
	text := message(event.GetWorkflowExecutionFailedEventAttributes().GetFailure())
	var failed *temporal.ApplicationError
	if errors.As(failure(event), &failed) && failed.Type() == signals.RolledBackType {
		return RolledBack, text
	}
	return Failed, text
}

func failure(event *historypb.HistoryEvent) error {
	return temporal.GetDefaultFailureConverter().FailureToError(event.GetWorkflowExecutionFailedEventAttributes().GetFailure())
}

// message is the failure's text without Temporal's own framing around it.
func message(f *failurepb.Failure) string {
	for f.GetActivityFailureInfo() != nil && f.GetCause() != nil {
		f = f.GetCause()
	}
	return f.GetMessage()
}

func decode(payloads *commonpb.Payloads, to any) bool {
	return len(payloads.GetPayloads()) > 0 && converter.GetDefaultDataConverter().FromPayloads(payloads, to) == nil
}

// Explain wraps what the Temporal client answered, as ErrUnknown, ErrNamespace or ErrUnreachable where it is one of them.
// doing is what was tried, and on what. No error stays none.
func Explain(err error, doing string) error {
	var unknown *serviceerror.NotFound
	var nowhere *serviceerror.NamespaceNotFound
	var stopped *serviceerror.Canceled
	var away *serviceerror.Unavailable
	var late *serviceerror.DeadlineExceeded
	switch {
	case err == nil:
		return nil
	case errors.As(err, &nowhere):
		return fmt.Errorf("%s: %w", doing, ErrNamespace)
	case errors.As(err, &unknown):
		return fmt.Errorf("%s: %w", doing, ErrUnknown)
	case errors.Is(err, context.Canceled), errors.As(err, &stopped):
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	case errors.As(err, &away), errors.As(err, &late), errors.Is(err, context.DeadlineExceeded),
		status.Code(err) == codes.Unavailable, status.Code(err) == codes.DeadlineExceeded:
		return fmt.Errorf("%s: %w", doing, ErrUnreachable)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
