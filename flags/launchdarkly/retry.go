package launchdarkly

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/contraflow/contraflow/flags"
)

const (
	// attempts at one operation: enough for a deployment's hiccup; a longer outage is the caller's retry policy's.
	attempts = 5
	// firstBackOff doubles with every attempt: 0.1, 0.2, 0.4, 0.8 s.
	firstBackOff = 100 * time.Millisecond
	// maxRateLimitWait is above LaunchDarkly's ten-second windows; who is locked out longer should hear of it.
	maxRateLimitWait = time.Minute
	// unnamedReset is the wait after a 429 that names no moment.
	unnamedReset = time.Second
)

// retry repeats an operation that begins by looking at the world, until it succeeds or only a person can help.
func retry[T any](ctx context.Context, operation func() (T, error)) (T, error) {
	backOff := firstBackOff
	for attempt := 1; ; attempt++ {
		out, err := operation()
		if err == nil || flags.Permanent(err) || attempt == attempts || ctx.Err() != nil {
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
			flags.Tell(ctx, "LaunchDarkly limits requests until "+limited.Until.UTC().Format(time.RFC3339))
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

// reset is the moment after which to try again: X-Ratelimit-Reset in epoch milliseconds for the account's limits, Retry-After in
// seconds for limits by address, the later one of both. https://launchdarkly.com/docs/api#rate-limiting
func reset(header http.Header) time.Time {
	var until time.Time
	if ms, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64); err == nil {
		until = time.UnixMilli(ms)
	}
	if s, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		until = later(until, time.Now().Add(time.Duration(s)*time.Second))
	}
	if at, err := http.ParseTime(header.Get("Retry-After")); err == nil { // the header's other form, which proxies use
		until = later(until, at)
	}
	if until.IsZero() {
		return time.Now().Add(unnamedReset)
	}
	return until
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
