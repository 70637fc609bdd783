// Package activities stands between Temporal and the engines: each activity takes Temporal's context on one side, calls one
// engine on the other, and decides once, in errors.go, what is worth a retry.
package activities

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/plan"
)

// Activities are what a worker registers; the fields are what they work with.
type Activities struct {
	// Databases by the name that plans use.
	Databases map[string]*Database
	// Plans the worker knows, and their SQL files.
	Plans *Plans
	// Flags finds the provider for a scope. It may be nil when no plan uses flags.
	Flags func(plan.FlagScope) (flags.Provider, error)
	// Chat to ask and tell people in; nil for none.
	Chat *Chat
	// Alive tells whether a migration is still running, so that the claim of one that was terminated can pass on.
	Alive func(ctx context.Context, migration, firstRun string) (bool, error)
	// Home tells which Temporal this is: Alive knows only of migrations there. Nil where there is but one.
	Home func(context.Context) (Home, error)
	// Transforms known by name to backfills. It may be nil when no plan uses one.
	Transforms map[string]backfill.Transform
	// HTTP is used by health checks. Defaults to http.DefaultClient.
	HTTP *http.Client
}

// Chat is where approvals are asked for.
type Chat struct {
	Poster  *slackcard.Poster
	Channel string
	// WorkflowURL is the page of a workflow in the Temporal UI; nil for no link.
	WorkflowURL func(migration, run string) string

	patience time.Duration // chatPatience, but in tests
}

// heartbeatEvery keeps people's view of progress fresh; the worker's throttle is set to the same.
const heartbeatEvery = time.Second

// database finds a target and makes sure that contraflow's own tables are there.
func (a *Activities) database(ctx context.Context, o Origin) (*Database, error) {
	db, ok := a.Databases[o.Database]
	if !ok {
		return nil, permanent("UnknownDatabase", "database %q is not in the worker's configuration; it knows: %s",
			o.Database, strings.Join(slices.Sorted(maps.Keys(a.Databases)), ", "))
	}
	return db, db.ready(ctx)
}

func (a *Activities) provider(scope plan.FlagScope) (flags.Provider, error) {
	if a.Flags == nil {
		return nil, permanent("NoFlags", "the worker has no flag provider: add flags to its configuration")
	}
	return a.Flags(scope)
}

// audit records what a step did; a repeated attempt records it once.
func audit(ctx context.Context, db *Database, o Origin, event, detail string) error {
	return db.ledger.Audit(ctx, ledger.Event{
		Key: strings.Join([]string{o.Step, event, detail}, "/"), Migration: o.Migration, FirstRun: o.FirstRun,
		Plan: o.Plan, PlanHash: o.PlanHash, Step: o.Step, Event: event, Detail: detail,
	})
}

// beat heartbeats every second with whatever tell returns, until stop is called. Without it a long statement would look
// like a dead worker, and its cancellation would not be noticed.
func beat(ctx context.Context, tell func() []any) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(heartbeatEvery)
		defer ticker.Stop()
		for {
			activity.RecordHeartbeat(ctx, tell()...)
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// untilStop ends ctx when the worker stops, for activities that only look: another worker does it again.
func untilStop(ctx context.Context) (_ context.Context, release func()) {
	stop := activity.GetWorkerStopChannel(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-stop:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// nothing is told by activities that are over soon: they beat so that a worker killed in them is missed soon.
func nothing() []any { return nil }

// latest holds what the next heartbeat tells.
type latest[T any] struct {
	mu    sync.Mutex
	value T
}

func (l *latest[T]) set(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value = v
}

func (l *latest[T]) get() T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value
}

// details is the value as a heartbeat takes it.
func (l *latest[T]) details() []any { return []any{l.get()} }

func note(o Origin) string {
	return ledger.StepNote(o.Migration, o.Step, plan.ShortHash(o.PlanHash))
}

// backNote is the note of a compensation.
func backNote(o Origin) string { return note(o) + ", compensation" }
