// Package pgflags reads feature flags from the table contraflow.flag of a Postgres database, which package flags/postgres
// changes. A Reader evaluates in memory, exactly as the SQL function contraflow.flag_is_on does.
//
// The application's role needs rights on three functions, and on no table:
//
//	grant usage on schema contraflow to shop;
//	grant execute on function contraflow.flag_is_on, contraflow.flag_list, contraflow.flag_saw to shop;
package pgflags

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/contraflow/contraflow/flags/internal/broadcast"
)

const (
	// DefaultPoll bounds how late a change is seen whose notification is lost: short enough to wait for, and one query of a
	// small table for each instance is nothing to the database.
	DefaultPoll = 10 * time.Second
	// leastPoll between two looks: what is less lacks its unit, for `Poll: 10` are ten nanoseconds.
	leastPoll = 100 * time.Millisecond
	// maxPause before what has failed is tried again, for who polls seldom: he relies on notifications, and there are none.
	maxPause = DefaultPoll
	// standbyPause before a read replica is asked to listen again, which it can't unless it was promoted. Each time costs a
	// connection and a line in the server's log.
	standbyPause = 5 * time.Minute
	// readOnly is the SQLSTATE with which a read replica refuses to listen.
	readOnly = "25006"
	// stalePolls is how many polls may fail before the copy is called stale: one may hit a restart.
	stalePolls = 3
	// reportEvery is how often what was evaluated is reported: whoever asks whether a flag is in use thinks in days.
	reportEvery = time.Minute
	// queryTimeout bounds one query, which takes milliseconds; a dead connection must not hold the poll for longer.
	queryTimeout = 5 * time.Second
	// channel is what the table's trigger notifies.
	channel = "contraflow_flag"
	// maxInstance is that of contraflow.flag_seen.
	maxInstance = 200
)

// Options of a Reader.
type Options struct {
	// Poll is the time between two looks at the table beside notifications, 100 ms or more. Defaults to DefaultPoll.
	Poll time.Duration
	// Instance names this process, in up to 200 characters without control characters, in contraflow.flag_seen: once a minute it is told there which
	// flags were evaluated, and to what; without keys of contexts. Defaults to none: nothing is reported.
	Instance string
	// Log is told when the flags can't be read, and when they can again. Defaults to none.
	Log *slog.Logger
	// Changed is called after a new copy has been taken over in which keys differ, in order. It must not block. Defaults to none.
	Changed func(keys []string)
	// Stale is called when the copy becomes stale (true: three polls in a row have failed), and when it is good again (false),
	// also when it is the first that Open could not take. It must not block. Defaults to none.
	Stale func(stale bool)
}

func (o Options) validate(source Source) error {
	switch {
	case source == nil || source == Pool(nil) || source == Polling(nil) || source == DB(nil):
		return errors.New("pgflags: no database to read flags from: give pgflags.Pool, Polling or DB one")
	case o.Poll != 0 && o.Poll < leastPoll:
		return fmt.Errorf("pgflags: Poll must be at least %s, or 0 for the default of %s, not %s: give it a unit, such as 10 * time.Second",
			leastPoll, DefaultPoll, o.Poll)
	case !utf8.ValidString(o.Instance) || utf8.RuneCountInString(o.Instance) > maxInstance || strings.ContainsFunc(o.Instance, unicode.IsControl):
		return fmt.Errorf("pgflags: Instance must be text of up to %d characters without control characters", maxInstance)
	}
	return nil
}

// refused is the Source of options that can't work.
type refused struct{ why error }

func (r refused) Text(context.Context, string, ...any) (string, error) { return "", r.why }

// Reader holds a copy of all flags. It is safe for concurrent use, and no evaluation waits for the database.
type Reader struct {
	source  Source
	options Options
	loading sync.Mutex // so that no copy is replaced by an older one
	copied  atomic.Pointer[map[string]*flag]
	seen    sync.Map // *seen by flag key
	stale   atomic.Bool
	wake    chan struct{}
	fresh   broadcast.Broadcast // of copies that differ
	end     context.CancelFunc
	running sync.WaitGroup

	unreported error // why the last report failed, once nothing runs any more
}

// Open takes the first copy within ctx and keeps it fresh until Close. If the flags can't be had, the error says why, and the
// Reader is usable all the same: it serves fallbacks and goes on trying, unless its options can't work. So close it, also
// behind an error, or use it.
func Open(ctx context.Context, source Source, options Options) (*Reader, error) {
	if err := options.validate(source); err != nil {
		r := &Reader{source: refused{err}, end: func() {}}
		r.stale.Store(true)
		return r, err
	}
	options.Poll = cmp.Or(options.Poll, DefaultPoll)
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	r := &Reader{source: source, options: options, wake: make(chan struct{}, 1)}
	err := r.load(ctx)
	if err != nil {
		r.stale.Store(true)
		options.Log.Warn("flags can't be read: fallbacks are served until they can", "error", err)
	}
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	r.end = end
	r.running.Go(func() { r.follow(running, err != nil) })
	if listener, ok := source.(Listener); ok {
		r.running.Go(func() { r.listen(running, listener) })
	}
	if options.Instance != "" {
		r.running.Go(func() { r.report(running) })
	}
	return r, err
}

// Close ends the reader's own connection and goroutines, and reports what is left to report, which takes no longer than one
// query; its error is of that. It may be called twice, and evaluations go on with the last copy.
func (r *Reader) Close() error {
	r.end()
	r.running.Wait()
	return r.unreported
}

// Bool evaluates a flag for one context, by the kind "user" if kind is empty. An unknown or archived flag serves the fallback.
func (r *Reader) Bool(key, kind, contextKey string, fallback bool) bool {
	return r.Evaluate(key, kind, contextKey, fallback).Value
}

// Evaluate is Bool with the reason.
func (r *Reader) Evaluate(key, kind, contextKey string, fallback bool) Evaluation {
	copied := r.copied.Load()
	if copied == nil {
		return Evaluation{Value: fallback, Reason: NotReady}
	}
	f, ok := (*copied)[key]
	if !ok {
		return Evaluation{Value: fallback, Reason: NotFound}
	}
	value, reason := f.evaluate(kind, contextKey)
	if r.options.Instance != "" {
		r.seenOf(key).add(value)
	}
	return Evaluation{Value: value, Reason: reason, Version: f.Version}
}

// Ready tells whether there is a copy.
func (r *Reader) Ready() bool { return r.copied.Load() != nil }

// Stale tells whether there is no copy yet, or the last three polls, or more, have failed.
func (r *Reader) Stale() bool { return r.stale.Load() }

// Refresh takes a copy now, and what Changed and Stale are told comes before it returns: don't call it from either.
func (r *Reader) Refresh(ctx context.Context) error { return r.load(ctx) }

func (r *Reader) seenOf(key string) *seen {
	if s, ok := r.seen.Load(key); ok {
		return s.(*seen)
	}
	s, _ := r.seen.LoadOrStore(key, &seen{})
	return s.(*seen)
}

// load replaces the copy, or leaves it as it is.
func (r *Reader) load(ctx context.Context) error {
	r.loading.Lock()
	defer r.loading.Unlock()
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	text, err := r.source.Text(ctx, "select contraflow.flag_list()::text")
	if err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	var list []*flag
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return errors.New("read the flags: contraflow.flag_list() is not what this version of pgflags understands")
	}
	fresh := make(map[string]*flag, len(list))
	for _, f := range list {
		fresh[f.Key] = f
	}
	switch old := r.copied.Swap(&fresh); {
	case old == nil:
		r.fresh.Tell()
	default:
		keys := changed(*old, fresh)
		if len(keys) == 0 {
			break
		}
		r.fresh.Tell()
		if r.options.Changed != nil {
			r.options.Changed(keys)
		}
	}
	r.tellStale(false)
	return nil
}
