package activities

import (
	"cmp"
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/health"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

const (
	// guardSlice is how long one activity watches before it hands over to the next: long, so that history stays short.
	guardSlice = 12 * time.Hour
	// proofTimeout bounds a verification, which may have to read the whole table.
	proofTimeout = 6 * time.Hour
)

// WatchHealth probes, and looks for presses of the kill switch, until either brings a verdict or the slice ends. After a crash it
// goes on with the counts of its last heartbeat. There may be no checks at all.
func (a *Activities) WatchHealth(ctx context.Context, in WatchInput) (GuardVerdict, error) {
	ctx, release := untilStop(ctx)
	defer release()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return GuardVerdict{}, fail(ctx, err)
	}
	var checks []health.Check
	for _, c := range in.Checks {
		checks = append(checks, check(c, in.Interval))
	}
	var watcher *health.Watcher
	if len(checks) > 0 {
		if watcher, err = health.New(checks, health.Targets{Pool: db.pool, Client: a.HTTP}); err != nil {
			return GuardVerdict{}, permanent("BadPlan", "%v", err)
		}
	}
	var earlier []health.Standing
	if activity.HasHeartbeatDetails(ctx) {
		var readings []signals.Reading
		if err := activity.GetHeartbeatDetails(ctx, &readings, &earlier); err != nil {
			earlier = nil // of an older worker: start the counts afresh
		}
	}
	var beating latest[guardBeat]
	beating.set(guardBeat{standings: earlier})
	defer beat(ctx, func() []any { b := beating.get(); return []any{b.readings, b.standings} })()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	kills := killWatch{db.ledger, in.Origin.FirstRun, in.Kills}
	pressed := make(chan GuardVerdict, 1)
	go func() {
		verdict := kills.watch(watching, guardSlice)
		if verdict.Outcome == Killed {
			stop()
		}
		pressed <- verdict
	}()
	verdict := GuardVerdict{Outcome: Healthy}
	if watcher != nil {
		var found health.Verdict
		found, err = watcher.Watch(watching, guardSlice, earlier, func(s []health.Standing) { beating.set(guardBeat{readings(s), s}) })
		verdict = GuardVerdict{Outcome: string(found.Outcome), Check: found.Check, Reading: found.Reading}
		stop()
	}
	// Somebody who turned the flags off meant it, whatever a check says at the same moment: it may fail just because they are off.
	kill := <-pressed
	if kill.Outcome != Killed && err == nil && verdict.Outcome != Healthy {
		kill = kills.last(ctx)
	}
	if kill.Outcome == Killed {
		return kill, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return GuardVerdict{}, fail(ctx, err)
	}
	return verdict, nil
}

// guardBeat is a heartbeat of the guard: readings for people, standings for the attempt that comes after a crash.
type guardBeat struct {
	readings  []signals.Reading
	standings []health.Standing
}

// readings tells of each check how its latest probe went; what has not been probed yet is left out.
func readings(standings []health.Standing) []signals.Reading {
	var rs []signals.Reading
	for _, s := range standings {
		if s.At.IsZero() {
			continue
		}
		r := signals.Reading{Check: s.Check, Outcome: "pass", Reading: s.Reading, At: s.At}
		switch {
		case s.Errors > 0:
			r.Outcome = "error"
		case s.Failures > 0:
			r.Outcome = "fail"
		}
		rs = append(rs, r)
	}
	return rs
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
		h.HTTP = &health.HTTPProbe{URL: c.HTTP.URL, Status: c.HTTP.Status, Timeout: cmp.Or(c.HTTP.Timeout.Std(), plan.DefaultHTTPTimeout)}
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
	ctx, release := untilStop(ctx)
	defer release()
	defer beat(ctx, func() []any { return []any{in.Origin.Step} })()
	db, err := a.database(ctx, in.Origin)
	if err != nil {
		return Verified{}, fail(ctx, err)
	}
	m, err := health.Measure(ctx, db.pool, health.SQLProbe{Query: in.Verify.Query, Max: in.Verify.Max, Min: in.Verify.Min, Timeout: proofTimeout})
	if err != nil {
		return Verified{}, fail(ctx, err)
	}
	if !m.Pass {
		return Verified{}, permanent("NotProven", "the query returned %s", m.Text)
	}
	return Verified{Number: m.Number}, fail(ctx, audit(ctx, db, in.Origin, "verified", m.Text))
}
