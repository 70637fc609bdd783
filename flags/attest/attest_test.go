package attest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/attest"
	"github.com/contraflow/contraflow/plan"
)

// sdk is a source whose flags the test sets.
type sdk struct {
	mu   sync.Mutex
	seen []attest.Seen
	fail bool
}

func (s *sdk) set(seen ...attest.Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = seen
}

func (s *sdk) breaks(fail bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

func (s *sdk) See([]string) []attest.Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		panic("the SDK is broken")
	}
	return slices.Clone(s.seen)
}

// database records the reports that reach it.
type database struct {
	mu      sync.Mutex
	began   time.Time
	name    string // of the instance, with what Start has added
	reports []string
	at      []time.Duration // of every attempt, since the beginning
	errs    []error
	away    bool
	stuck   chan struct{} // nil: nothing hangs
}

func (d *database) exec(ctx context.Context, sql string, args ...any) error {
	d.mu.Lock()
	stuck := d.stuck
	d.mu.Unlock()
	if stuck != nil {
		<-stuck // whatever its context says
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Since(d.began).Round(time.Millisecond))
	if d.away {
		return errors.New("the database is away")
	}
	name := args[0].(string)
	d.name = cmp.Or(d.name, name)
	at := strings.LastIndex(name, "-")
	if d.name != name || len(name[at+1:]) != 6 {
		return fmt.Errorf("%s is no name of this start", name)
	}
	d.reports = append(d.reports, name[:at]+" "+args[1].(string))
	return ctx.Err()
}

func (d *database) failed(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.errs = append(d.errs, err)
}

func (d *database) set(change func(*database)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// seen copies what has reached the database so far, and what the application has heard.
func (d *database) seen() (reports []string, at []time.Duration, errs []error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.reports), slices.Clone(d.at), slices.Clone(d.errs)
}

func (d *database) said() []string {
	reports, _, _ := d.seen()
	return reports
}

func (d *database) last() string {
	said := d.said()
	return said[len(said)-1]
}

func (d *database) tries() []time.Duration {
	_, at, _ := d.seen()
	return at
}

func (d *database) told() []error {
	_, _, errs := d.seen()
	return errs
}

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, test func(*testing.T, *sdk, *database, attest.Options)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, d := &sdk{}, &database{began: time.Now()}
		test(t, s, d, attest.Options{Instance: "shop-1", Flags: []string{"b", "a"}, Source: s, Exec: d.exec, OnError: d.failed})
	})
}

func start(t *testing.T, o attest.Options) *attest.Attester {
	t.Helper()
	a, err := attest.Start(t.Context(), o)
	require.NoError(t, err)
	synctest.Wait()
	return a
}

func TestEveryReportHasAllFlagsAndNoOthers(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		a := start(t, o)
		defer a.Stop()
		require.Equal(t, `shop-1 {"a":{"version":0,"value":null},"b":{"version":0,"value":null}}`, d.last(), "the SDK knows nothing yet")
		s.set(attest.Seen{Key: "a", Version: 7, Value: new("true")}, attest.Seen{Key: "other", Version: 1})
		time.Sleep(attest.DefaultEvery)
		synctest.Wait()
		require.Equal(t, `shop-1 {"a":{"version":7,"value":"true"},"b":{"version":0,"value":null}}`, d.last())
		s.set(attest.Seen{Key: "a", Version: -1, Value: new(strings.Repeat("x", 257))}, attest.Seen{Key: "b", Version: 2, Value: new("a\nb")})
		time.Sleep(attest.DefaultEvery)
		synctest.Wait()
		require.Equal(t, `shop-1 {"a":{"version":0,"value":null},"b":{"version":2,"value":null}}`, d.last(), "what would be refused is left out")
		require.Equal(t, []time.Duration{0, 10 * time.Second, 20 * time.Second}, d.tries())
	})
}

func TestAChangeIsReportedAtOnceAndASwarmOfThemInFewReports(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		a := start(t, o)
		defer a.Stop()
		time.Sleep(time.Second)
		s.set(attest.Seen{Key: "a", Version: 8})
		a.Changed()
		synctest.Wait()
		require.Equal(t, []time.Duration{0, time.Second}, d.tries())
		require.Contains(t, d.last(), `"version":8`)
		for i := range 500 {
			s.set(attest.Seen{Key: "a", Version: 9 + i})
			a.Changed()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		require.Contains(t, d.last(), `"version":508`)
		require.LessOrEqual(t, len(d.said()), 2+6)
		time.Sleep(attest.DefaultEvery)
		require.Empty(t, d.told())
	})
}

func TestADatabaseThatIsAwayIsAskedNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		d.away = true
		a := start(t, o)
		defer a.Stop()
		for range 900 {
			a.Changed()
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, 80 * time.Second}, d.tries())
		require.Len(t, d.told(), 1, "nobody wants to read it seven times")
		require.EqualError(t, d.told()[0], "attest: report the flags: the database is away")

		d.set(func(d *database) { d.away, d.at = false, nil })
		s.set(attest.Seen{Key: "a", Version: 3})
		time.Sleep(10*time.Second + attest.DefaultEvery + time.Second)
		synctest.Wait()
		require.Contains(t, d.last(), `"version":3`)
		again := 100 * time.Second // a change was still due; then at the old pace
		require.Equal(t, []time.Duration{again, again + 100*time.Millisecond, again + 100*time.Millisecond + attest.DefaultEvery}, d.tries())
		require.Len(t, d.told(), 1)
		d.set(func(d *database) { d.away = true })
		time.Sleep(attest.DefaultEvery)
		s.breaks(true)
		time.Sleep(attest.DefaultEvery)
		synctest.Wait()
		require.Len(t, d.told(), 3, "again, and then for another reason")
	})
}

func TestTwoLostReportsMakeNoInstanceDead(t *testing.T) {
	t.Parallel()
	for says, lose := range map[string]func(context.Context) error{
		"refused":   func(context.Context) error { return errors.New("lost") },
		"timed out": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		synctest.Test(t, func(t *testing.T) {
			n, last, longest := 0, time.Now(), time.Duration(0)
			o := attest.Options{Instance: "shop-1", Flags: []string{"a"}, Source: &sdk{}, Exec: func(ctx context.Context, _ string, _ ...any) error {
				if n++; n%3 != 1 {
					return lose(ctx)
				}
				longest, last = max(longest, time.Since(last)), time.Now()
				return nil
			}}
			a := start(t, o)
			time.Sleep(10 * time.Minute)
			a.Stop()
			require.Greater(t, n, 30)
			require.Less(t, longest, plan.DefaultAttestWithin, says)
		})
	}
}

func TestEachStartIsAnInstanceOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		first := start(t, o)
		require.Equal(t, first.Name(), d.name)
		require.True(t, strings.HasPrefix(first.Name(), "shop-1-"))
		first.Stop()
		d.set(func(d *database) { d.name = "" })
		second := start(t, o)
		defer second.Stop()
		require.Equal(t, second.Name(), d.name)
		require.NotEqual(t, first.Name(), second.Name())
	})
}

func TestStopSaysGoodbyeLast(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		ctx, shutdown := context.WithCancel(t.Context())
		a, err := attest.Start(ctx, o)
		require.NoError(t, err)
		shutdown()
		time.Sleep(attest.DefaultEvery)
		synctest.Wait()
		require.Len(t, d.said(), 2, "an application that shuts down still serves")
		hanging := make(chan struct{})
		d.set(func(d *database) { d.stuck = hanging })
		a.Changed()
		time.Sleep(time.Second)
		go a.Stop()
		synctest.Wait()
		close(hanging)
		a.Stop()
		require.Len(t, d.said(), 4)
		require.Equal(t, "shop-1 {}", d.last(), "behind the report under way")
		a.Stop()
		a.Changed()
		time.Sleep(time.Minute)
		require.Len(t, d.said(), 4)
	})
}

func TestAnExecThatNeverReturnsHoldsNothingElseUp(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		hanging := make(chan struct{})
		d.stuck = hanging
		calls := 0
		exec := o.Exec
		o.Exec = func(ctx context.Context, sql string, args ...any) error {
			d.set(func(*database) { calls++ })
			return exec(ctx, sql, args...)
		}
		a := start(t, o)
		for range 100 {
			a.Changed()
			time.Sleep(time.Second)
		}
		d.set(func(*database) { require.Equal(t, 1, calls, "one at a time") })
		began := time.Now()
		a.Stop()
		require.Equal(t, 6*time.Second, time.Since(began))
		close(hanging)
		a.Stop()
		require.Equal(t, "shop-1 {}", d.last(), "it is said all the same")
	})
}

func TestABrokenSourceBreaksNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		s.breaks(true)
		a := start(t, o)
		defer a.Stop()
		require.Empty(t, d.said())
		require.EqualError(t, d.told()[0], "attest: look at the flags: panic: the SDK is broken")
		s.breaks(false)
		time.Sleep(attest.DefaultEvery)
		synctest.Wait()
		require.Len(t, d.said(), 1)
	})
}

// brokenWatch can be asked, but not be listened to.
type brokenWatch struct{ sdk }

func (*brokenWatch) Watch(context.Context, func()) { panic("no watch") }

func TestABrokenWatchOrListenerBreaksNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *sdk, d *database, o attest.Options) {
		heard := make(chan error, 10)
		o.Source = &brokenWatch{}
		o.OnError = func(err error) { heard <- err; panic("the log is broken") }
		a := start(t, o)
		defer a.Stop()
		require.EqualError(t, <-heard, "attest: watch the flags: panic: no watch")
		d.set(func(d *database) { d.away = true })
		time.Sleep(attest.DefaultEvery)
		require.EqualError(t, <-heard, "attest: report the flags: the database is away")
		d.set(func(d *database) { d.away = false })
		time.Sleep(attest.DefaultEvery)
		synctest.Wait()
		require.Len(t, d.said(), 2)
	})
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	exec := func(context.Context, string, ...any) error { return nil }
	for says, change := range map[string]func(*attest.Options){
		"Instance must be a name": func(o *attest.Options) { o.Instance = "" },
		"Instance must be":        func(o *attest.Options) { o.Instance = strings.Repeat("x", 194) },
		"without control":         func(o *attest.Options) { o.Instance = "a\u009bb" },
		"Flags must list":         func(o *attest.Options) { o.Flags = nil },
		"1 to 200 keys":           func(o *attest.Options) { o.Flags = make([]string, 201) },
		`flag key ""`:             func(o *attest.Options) { o.Flags = []string{"a", ""} },
		"Source is missing":       func(o *attest.Options) { o.Source = nil },
		"Exec is missing":         func(o *attest.Options) { o.Exec = nil },
		"Every must be":           func(o *attest.Options) { o.Every = -1 },
		"at least 100ms, or 0 for the default of 10s, not 10ns": func(o *attest.Options) { o.Every = 10 },
	} {
		o := attest.Options{Instance: "shop-1", Flags: []string{"a"}, Source: &sdk{}, Exec: exec}
		change(&o)
		a, err := attest.Start(t.Context(), o)
		require.ErrorContains(t, err, says)
		a.Stop() // as a deferred one is called
	}
}
