package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/plan"
)

const (
	// guardSlice is how long one activity watches before it hands over to the next: long, so that history stays short.
	guardSlice = 12 * time.Hour
	// proofTimeout bounds a verification, which may have to read the whole table.
	proofTimeout = 6 * time.Hour
)

// WatchHealth probes until a check brings a verdict or the slice ends. After a crash it goes on with the counts of its last
// heartbeat.
func (a *Activities) WatchHealth(ctx context.Context, in WatchInput) (GuardVerdict, error) {
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return GuardVerdict{}, fail(err)
	}
	var checks []health.Check
	for _, c := range in.Checks {
		checks = append(checks, check(c, in.Interval))
	}
	watcher, err := health.New(checks, health.Targets{Pool: db.pool, Client: a.HTTP})
	if err != nil {
		return GuardVerdict{}, permanent("BadPlan", "%v", err)
	}
	var earlier []health.Standing
	if activity.HasHeartbeatDetails(ctx) {
		if err := activity.GetHeartbeatDetails(ctx, &earlier); err != nil {
			earlier = nil // of an older worker: start the counts afresh
		}
	}
	var standings latest[[]health.Standing]
	standings.set(earlier)
	defer beat(ctx, standings.get)()
	verdict, err := watcher.Watch(ctx, guardSlice, earlier, standings.set)
	if err != nil {
		return GuardVerdict{}, fail(err)
	}
	return GuardVerdict{Outcome: string(verdict.Outcome), Check: verdict.Check, Reading: verdict.Reading}, nil
}

// check is the plan's check in the engine's terms, with the plan's defaults.
func check(c plan.Check, interval plan.Duration) health.Check {
	h := health.Check{Name: c.Name, Interval: interval.Std(), InitialDelay: c.InitialDelay.Std(), DryRun: c.DryRun,
		ConsecutiveErrorLimit: plan.DefaultErrorLimit}
	if c.Interval > 0 {
		h.Interval = c.Interval.Std()
	}
	if c.SQL != nil {
		h.SQL = &health.SQLProbe{Query: c.SQL.Query, Max: c.SQL.Max, Min: c.SQL.Min}
		h.FailureLimit = plan.DefaultSQLFailures
	}
	if c.HTTP != nil {
		h.HTTP = &health.HTTPProbe{URL: c.HTTP.URL, Status: c.HTTP.Status, Timeout: c.HTTP.Timeout.Std()}
		h.FailureLimit = plan.DefaultHTTPFailures
	}
	if c.FailureLimit != nil {
		h.FailureLimit = *c.FailureLimit
	}
	if c.ConsecutiveErrorLimit != nil {
		h.ConsecutiveErrorLimit = *c.ConsecutiveErrorLimit
	}
	return h
}

// Verify asks the query for its number and fails for good when it is out of bounds.
func (a *Activities) Verify(ctx context.Context, in VerifyInput) (Verified, error) {
	defer beat(ctx, func() any { return in.Origin.Step })()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return Verified{}, fail(err)
	}
	m, err := health.Measure(ctx, db.pool, health.SQLProbe{Query: in.Verify.Query, Max: in.Verify.Max, Min: in.Verify.Min, Timeout: proofTimeout})
	if err != nil {
		return Verified{}, fail(err)
	}
	if !m.Pass {
		return Verified{}, permanent("NotProven", "the query returned %s", m.Text)
	}
	return Verified{Number: m.Number}, fail(audit(ctx, db, in.Origin, "verified", m.Text))
}
