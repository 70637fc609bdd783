// Package holder asks Temporal about the migrations that hold plans: a target database alone can't tell whether they still run.
package holder

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/contraflow/contraflow/internal/ledger"
)

// Alive tells whether the run, or one that continues it, still runs.
func Alive(ctx context.Context, c client.Client, migration, firstRun string) (bool, error) {
	latest, err := describe(ctx, c, migration)
	return latest.running && latest.firstRun == firstRun, err
}

// End tells how the latest run of a workflow id has ended, in a word: "terminated", or "not_running" for any other end, and when;
// zero where Temporal has forgotten it. ended is false while any run of that id is open: it may be about to take the plan over.
func End(ctx context.Context, c client.Client, migration string) (how string, at time.Time, ended bool, err error) {
	latest, err := describe(ctx, c, migration)
	if err != nil || latest.running {
		return "", time.Time{}, false, err
	}
	if latest.status == enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED {
		return Terminated, latest.closed, true, nil
	}
	return NotRunning, latest.closed, true, nil
}

// How a migration ended without a word to its database.
const (
	Terminated = "terminated"
	NotRunning = "not_running"
)

// run is the latest of a workflow id; none has run where Temporal knows no such id.
type run struct {
	running  bool
	firstRun string
	status   enumspb.WorkflowExecutionStatus
	closed   time.Time
}

func describe(ctx context.Context, c client.Client, migration string) (run, error) {
	latest, err := c.DescribeWorkflowExecution(ctx, migration, "")
	if _, unknown := errors.AsType[*serviceerror.NotFound](err); unknown {
		return run{}, nil
	}
	if err != nil {
		return run{}, err
	}
	info := latest.GetWorkflowExecutionInfo()
	out := run{firstRun: info.GetFirstRunId(), status: info.GetStatus()}
	switch out.status {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED: // by Temporal's operator; it goes on
		out.running = true
	}
	if closed := info.GetCloseTime(); closed != nil {
		out.closed = closed.AsTime()
	}
	return out, nil
}

// Home tells which Temporal this is, in whose namespace, and at whose address the caller asks.
func Home(ctx context.Context, c client.Client, namespace, address string) (ledger.Home, error) {
	here := ledger.Home{Namespace: namespace, Address: unambiguous(address)}
	info, err := c.WorkflowService().GetClusterInfo(ctx, &workflowservice.GetClusterInfoRequest{})
	_, unimplemented := errors.AsType[*serviceerror.Unimplemented](err)
	_, denied := errors.AsType[*serviceerror.PermissionDenied](err)
	if err != nil && !unimplemented && !denied { // a service that keeps it to itself is known by its address
		return ledger.Home{}, err
	}
	here.Cluster = info.GetClusterId()
	return here, nil
}

// unambiguous says whose localhost an address means.
func unambiguous(address string) string {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host != "localhost" && !(ip != nil && ip.IsLoopback()) {
		return address
	}
	machine, err := os.Hostname()
	if err != nil {
		machine = "an unnamed machine"
	}
	return address + " on " + machine
}
