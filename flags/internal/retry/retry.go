// Package retry repeats operations on a flag service that has passing trouble.
package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/contraflow/contraflow/flags"
)

const (
	// attempts at one operation: enough for a deployment's hiccup; a longer outage is the caller's retry policy's.
	attempts = 5
	// firstBackOff doubles with every attempt: 0.1, 0.2, 0.4, 0.8 s.
	firstBackOff = 100 * time.Millisecond
	// maxRateLimitWait is as long as the windows in which services count requests; who is locked out longer should hear of it.
	maxRateLimitWait = time.Minute
)

// Do repeats an operation that begins by looking at the world, until it succeeds or only a person can help. It tells of waits
// for a rate limit, under the service's name.
func Do[T any](ctx context.Context, service string, operation func() (T, error)) (T, error) {
	backOff := firstBackOff
	for attempt := 1; ; attempt++ {
		out, err := operation()
		if err == nil || flags.Permanent(err) || attempt == attempts || flags.Late(ctx) != nil {
			return out, err
		}
		// Half fixed, half random: many workers must not come back at once.
		pause := backOff/2 + rand.N(backOff/2)
		backOff *= 2
		if limited, ok := errors.AsType[*flags.RateLimited](err); ok {
			pause += max(0, time.Until(limited.Until)) // the pause is the jitter; clocks may disagree
			deadline, bounded := ctx.Deadline()
			if pause > maxRateLimitWait || bounded && limited.Until.After(deadline) {
				return out, err
			}
			flags.Tell(ctx, service+" limits requests until "+limited.Until.UTC().Format(time.RFC3339))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return out, errors.Join(ctx.Err(), err)
		case <-timer.C:
			flags.Tell(ctx, "")
		}
	}
}
