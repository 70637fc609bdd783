package watch

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/client"
)

// Twice a second looks alive, and costs Temporal two small calls each time.
const pollInterval = 500 * time.Millisecond

// Follow shows a migration until it has ended and returns the last snapshot. It outlives a Temporal that goes away and
// comes back. runID "" stands for the run that is the latest one now; a later start of the same id is not followed.
// The error is ctx's own, ErrUnknown, or what live's writer answered; the snapshot is then the last one seen.
func Follow(ctx context.Context, c client.Client, id, runID string, live *Live) (Snapshot, error) {
	var last Snapshot
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		s, err := Fetch(ctx, c, id, runID)
		switch {
		case ctx.Err() != nil:
			return last, ctx.Err()
		case errors.Is(err, ErrUnreachable):
			err = live.Trouble("Temporal does not answer, trying again")
		case err == nil:
			last, runID = s, s.RunID
			err = live.Show(s)
		}
		if err != nil || last.Closed {
			return last, err
		}
		select {
		case <-ctx.Done():
			return last, ctx.Err()
		case <-tick.C:
		}
	}
}
