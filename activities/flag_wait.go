package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/signals"
)

const (
	// approvalPoll is how often a change that waits for an approval in the flag service is tried again: people take minutes,
	// and each look is a handful of requests out of a limit that all of the account's tokens share.
	approvalPoll = 5 * time.Second
	// approvalMargin before the end of an attempt is for its last look, so that it ends with who must approve and not with a
	// timeout.
	approvalMargin = 3 * approvalPoll
)

func waitingFlag(in FlagInput) *latest[signals.Blocked] {
	told := new(latest[signals.Blocked])
	told.set(signals.Blocked{Step: in.Origin.Step})
	return told
}

// whenApproved does what the flag service may want approved first, again and again until it is done: each time from the start,
// so that a stranger's change meanwhile is seen. What is waited for is told. A wait that outlasts this attempt is gone on with
// in the next one.
func whenApproved(
	ctx context.Context, told *latest[signals.Blocked], change func(context.Context) (FlagNow, error),
) (FlagNow, error) {
	step := told.get().Step
	tell := func(waiting string) { told.set(signals.Blocked{Step: step, Text: waiting}) }
	ctx = flags.Telling(ctx, tell)
	for {
		now, err := change(ctx)
		required, waits := errors.AsType[*flags.ApprovalRequired](err)
		if !waits {
			tell("")
			return now, err
		}
		tell(required.Error())
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < approvalMargin {
			return FlagNow{}, temporal.NewApplicationErrorWithOptions(required.Error(), "Approval",
				temporal.ApplicationErrorOptions{NextRetryDelay: approvalPoll})
		}
		timer := time.NewTimer(approvalPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return FlagNow{}, ctx.Err()
		case <-activity.GetWorkerStopChannel(ctx):
			timer.Stop()
			return FlagNow{}, errStopping
		case <-timer.C:
		}
	}
}
