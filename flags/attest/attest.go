// Package attest lets an application say which version of its feature flags each of its instances evaluates, so that a plan
// whose step says `attest` goes on only when every instance has seen a stage. An instance reports every few seconds, and at
// once when a flag has changed, by one call of the SQL function contraflow.attest in the database that is migrated:
//
//	attester, err := attest.Start(ctx, attest.Options{
//		Instance: host, // such as os.Hostname tells
//		Flags:    []string{"customers-write-new"},
//		Source:   ldattest.Source(client), // LaunchDarkly's SDK; a pgflags.Reader is one itself
//		Exec: func(ctx context.Context, sql string, args ...any) error {
//			_, err := own.Exec(ctx, sql, args...) // own: a pool of one connection, which no request holds
//			return err
//		},
//	})
//	if err != nil {
//		return err
//	}
//	defer attester.Stop() // behind the last request
//
// The application's role needs two rights:
//
//	grant usage on schema contraflow to shop;
//	grant execute on function contraflow.attest to shop;
//
// The package has no dependencies, and nothing of it is in the way of a request. A database that is away costs one attempt
// every now and then.
package attest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	// DefaultEvery lets two reports in a row be lost before a plan that says nothing else takes the instance for dead: those
	// behind one that failed are due after half of it.
	DefaultEvery = 10 * time.Second
	// patientFailures in a row are an accident; more are a database that is away.
	patientFailures = 2
	// maxBackoff, in intervals, between reports to a database that is away: once it is back, all instances are heard again
	// sooner than a plan that says nothing else takes them for dead.
	maxBackoff = 2
	// sendTimeout bounds one report, which takes a millisecond, or a connection more.
	sendTimeout = 3 * time.Second
	// leastGap between two reports: flags may change in swarms, such as when an SDK starts. An Every below it lacks its unit.
	leastGap = 100 * time.Millisecond
	// maxFlags and the lengths are those of contraflow.attest.
	maxFlags, maxName, maxKey, maxValue = 200, 200, 256, 256
	// tokenLength of what tells processes of one host apart: of 32 characters, so that out of thousands no two are the same.
	tokenLength = 6
	maxInstance = maxName - tokenLength - 1
)

// Seen is one flag as this instance evaluates it.
type Seen struct {
	Key string
	// Version of the flag's configuration, as the SDK counts it; 0 for a flag that the SDK does not know.
	Version int
	// Value that everybody is served: "true", "false", or the text that the flag serves. Nil where it depends on who asks, or
	// can't be told; then the version speaks alone.
	Value *string
}

// Source is what the application's SDK knows.
type Source interface {
	// See tells what would be evaluated now, without asking anybody over the network. It may leave keys out that the SDK does
	// not know, and must not count as the application's own evaluation.
	See(keys []string) []Seen
}

// Watcher is a Source that notices changes; what others change is reported with the next regular report.
type Watcher interface {
	Source
	// Watch calls changed, which doesn't block, behind each change of a flag, until ctx ends.
	Watch(ctx context.Context, changed func())
}

// Options of an Attester.
type Options struct {
	// Instance names the host or pod, for people, in up to 193 bytes. Start adds a few random characters, because processes of one
	// name would cover for each other: each start counts as an instance of its own.
	Instance string
	// Flags are the keys that plans move, at most 200. All of them are in every report, also those that the SDK does not know.
	Flags []string
	// Source tells what the application evaluates.
	Source Source
	// Exec executes one statement in the database that is migrated. It must return when its context ends: nothing is reported
	// while it is under way. Give it a connection of its own: an instance counts as dead when requests, held up by a lock, leave
	// none for its reports. Behind a pooler in transaction mode it must not prepare the statement.
	Exec func(ctx context.Context, sql string, args ...any) error
	// Every is the time between two reports, 100 ms or more. Defaults to DefaultEvery.
	Every time.Duration
	// OnError hears why reports fail, once until one gets through or another reason comes; they are tried again all the same. It
	// also hears of a Watch that panics, behind which changes wait for the next regular report.
	// Defaults to nobody.
	OnError func(error)
}

func (o Options) validate() error {
	switch {
	case o.Instance == "" || len(o.Instance) > maxInstance || strings.ContainsFunc(o.Instance, unicode.IsControl):
		return fmt.Errorf("attest: Instance must be a name of 1 to %d bytes without control characters", maxInstance)
	case len(o.Flags) == 0 || len(o.Flags) > maxFlags:
		return fmt.Errorf("attest: Flags must list 1 to %d keys", maxFlags)
	case o.Source == nil:
		return errors.New("attest: Source is missing: give the one of your SDK")
	case o.Exec == nil:
		return errors.New("attest: Exec is missing: give a function that executes a statement in the migrated database")
	case o.Every != 0 && o.Every < leastGap:
		return fmt.Errorf("attest: Every must be at least %s, or 0 for the default of %s, not %s: give it a unit, such as 10 * time.Second",
			leastGap, DefaultEvery, o.Every)
	}
	for _, key := range o.Flags {
		if key == "" || len(key) > maxKey || strings.ContainsFunc(key, unicode.IsControl) {
			return fmt.Errorf("attest: flag key %q must have 1 to %d bytes without control characters", key, maxKey)
		}
	}
	return nil
}

// Attester reports until it is stopped.
type Attester struct {
	options Options
	name    string
	changed chan struct{} // holds at most one token: something changed since the last report
	end     context.CancelFunc
	ended   chan struct{}
	running sync.WaitGroup
	failing string // why the last report failed, as it was told
}

// Start begins to report, and returns at once; its only error is of options that can't work. ctx gives its values to Exec;
// its end ends nothing, because an application that shuts down still serves for a while: call Stop.
func Start(ctx context.Context, o Options) (*Attester, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o.Every = cmp.Or(o.Every, DefaultEvery)
	o.Flags = slices.Clone(o.Flags)
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	a := &Attester{options: o, name: o.Instance + "-" + strings.ToLower(rand.Text()[:tokenLength]),
		changed: make(chan struct{}, 1), end: end, ended: make(chan struct{})}
	a.running.Go(func() { a.run(running) })
	if watcher, ok := o.Source.(Watcher); ok {
		a.running.Go(func() {
			a.tell(guarded("watch the flags", func() error {
				watcher.Watch(running, a.Changed)
				return nil
			}))
		})
	}
	go func() {
		a.running.Wait()
		close(a.ended)
	}()
	return a, nil
}

// Name is the instance's, as plans that wait for it call it.
func (a *Attester) Name() string { return a.name }

// Changed makes the next report due now. It doesn't block, and may be called from anywhere, also behind Stop.
func (a *Attester) Changed() {
	select {
	case a.changed <- struct{}{}:
	default: // it is due already
	}
}

// Stop says goodbye, so that nobody waits for this instance, and returns when that is done or can't be done within seconds.
// Call it when no request is served any more. It may be called twice, and does nothing with what a failed Start has returned.
func (a *Attester) Stop() {
	if a == nil {
		return
	}
	a.end()
	patience := time.NewTimer(2 * sendTimeout) // the report under way, and the goodbye, of an Exec that ignores its context
	defer patience.Stop()
	select {
	case <-a.ended:
	case <-patience.C:
	}
}

func (a *Attester) run(ctx context.Context) {
	due := time.NewTimer(0)
	defer due.Stop()
	var (
		failures int
		last     time.Time
	)
	for {
		changed := a.changed
		if failures > 0 {
			changed = nil // whatever changes meanwhile is in the next report; a database in trouble is not asked sooner for it
		}
		select {
		case <-ctx.Done():
			a.told(a.send(ctx, map[string]state{}))
			return
		case <-changed:
			due.Reset(max(leastGap-time.Since(last), 0))
			continue
		case <-due.C:
		}
		// A change from here on is not sure to be in this report, and makes another one due.
		failures++
		if !a.told(a.report(ctx)) {
			failures = 0
		}
		last = time.Now()
		due.Reset(a.options.gap(failures))
	}
}

// gap before the next report, behind so many in a row that failed.
func (o Options) gap(failures int) time.Duration {
	switch {
	case failures == 0:
		return o.Every
	case failures <= patientFailures:
		return o.Every / 2
	}
	return o.Every * time.Duration(min(failures-patientFailures, maxBackoff))
}
