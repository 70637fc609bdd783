package launchdarkly

import (
	"context"
	"net/http"
	"strconv"
	"time"

	again "github.com/contraflow/contraflow/flags/internal/retry"
)

// unnamedReset is the wait after a 429 that names no moment.
const unnamedReset = time.Second

func retry[T any](ctx context.Context, operation func() (T, error)) (T, error) {
	return again.Do(ctx, "LaunchDarkly", operation)
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
