// Package flagstest is what every flags.Provider must pass: run it against your own with Run.
package flagstest

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// Reader is a flag service's reading side, as an application has it: its SDK, or whatever evaluates flags.
type Reader interface {
	// Bool evaluates a boolean flag for one context. ok is false where the service serves nothing, so that the application
	// is left with the fallback in its own code.
	Bool(key, contextKind, contextKey string) (value, ok bool)
}

// Batcher is a Reader that evaluates for many contexts at once: the suite asks for thousands, which is slow one by one where
// each has to travel.
type Batcher interface {
	// Bools evaluates as Bool does, with one value for each context.
	Bools(key, contextKind string, contextKeys []string) (values []bool, ok bool)
}

// Listener is a Reader that tells of changes. The suite then waits to be told before it looks.
type Listener interface {
	// Listen begins to listen; each call of next waits for a flag to change, and returns its key.
	Listen() (next func(context.Context) (key string, err error))
}

// Fixture is a provider with flags prepared behind its back.
type Fixture struct {
	Provider flags.Provider
	// Plain is a boolean flag: off, true by its default rule, without targets and rules.
	Plain string
	// Furnished is a boolean flag: on, a 25 % rollout of true by the default kind, and what Exempt says.
	Furnished string
	// Exempt are contexts that Furnished serves one value whatever its default rule says: some true, some false.
	Exempt []Exempt
	// Told is what the Exceptions of Furnished's state say when its default rule serves true to a percentage: 1 and 100.
	Told map[int][]string
	// Text is a flag that serves texts; empty where the service knows boolean flags only.
	Text string
	// OneKind says that the service distributes by one kind of context only. Apply then refuses any other.
	OneKind bool
	// Target lets a stranger serve true to one user, not through the provider.
	Target func(t *testing.T, key, user string)
	// Application starts a reading side as an application would, waits until it has flags, and closes it when t ends.
	Application func(t *testing.T) Reader
}

// Exempt is one context with the value that it is served.
type Exempt struct {
	ContextKind, ContextKey string
	Value                   bool
}

const (
	// contexts that an application evaluates a rollout for.
	contexts = 10_000
	// tolerance is five standard deviations of 50 % of 10,000.
	tolerance = 0.025
	// patience for a change to reach an application that the provider has seen served already.
	patience = 10 * time.Second
	poll     = 5 * time.Millisecond
)

// Run checks a provider; every test gets a fixture of its own.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for name, test := range map[string]func(*testing.T, Fixture){
		"a rollout is really served":                     rollout,
		"off is really served":                           off,
		"targets and rules stay above the default rule":  exceptions,
		"apply again changes nothing":                    applyAgain,
		"preview tells what apply does":                  preview,
		"a change that is not wanted any more is left":   unwanted,
		"restore puts exactly the same back":             restore,
		"restore again changes nothing":                  restoreAgain,
		"a stranger's change is not overwritten":         stranger,
		"an archived flag is a stranger's change too":    strangerArchived,
		"what archives does not restore":                 restoreArchived,
		"archive takes the flag from applications":       archive,
		"an unknown flag is not found":                   unknown,
		"a flag that is not boolean is refused":          notBoolean,
		"a change that makes no sense is refused":        invalid,
		"the state of another flag is not put back":      otherFlag,
		"percentages by another context kind are served": otherKind,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fixture := newFixture(t)
			t.Cleanup(func() { require.NoError(t, fixture.Provider.Close()) })
			test(t, fixture)
		})
	}
}

const note = "conformance"

const (
	user   = flags.DefaultContextKind
	device = "device"
)

// served evaluates the flag for all contexts of a kind.
func served(t *testing.T, app Reader, key, kind string) []bool {
	t.Helper()
	keys := make([]string, contexts)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	if b, ok := app.(Batcher); ok {
		values, ok := b.Bools(key, kind, keys)
		require.True(t, ok, "flag %s serves nothing", key)
		require.Len(t, values, contexts)
		return values
	}
	out := make([]bool, contexts)
	for i := range out {
		value, ok := app.Bool(key, kind, keys[i])
		require.True(t, ok, "flag %s serves nothing", key)
		out[i] = value
	}
	return out
}

func share(values []bool) float64 {
	n := 0
	for _, v := range values {
		if v {
			n++
		}
	}
	return float64(n) / float64(len(values))
}

func rollout(t *testing.T, f Fixture) {
	app := f.Application(t)
	var told func(context.Context) (string, error)
	if l, ok := app.(Listener); ok {
		told = l.Listen()
	}
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, "off", before.Summary)
	require.False(t, before.On)
	require.Zero(t, share(served(t, app, f.Plain, user)), "the flag is off before the first stage")

	last, lucky := before, make([]bool, contexts)
	for _, percent := range []int{10, 50, 100} {
		state, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: percent}, note, nil)
		require.NoError(t, err)
		require.True(t, state.On)
		require.InDelta(t, percent, state.Percent, 1e-9)
		require.Equal(t, fmt.Sprintf("on: %d %% true", percent), state.Summary)
		require.Greater(t, state.Version, last.Version)
		require.False(t, state.Equal(last))
		got, err := f.Provider.Get(t.Context(), f.Plain)
		require.NoError(t, err)
		require.True(t, got.Equal(state))

		values := arrived(t, app, told, f.Plain, percent)
		require.InDelta(t, float64(percent)/100, share(values), tolerance)
		for i := range values {
			require.False(t, lucky[i] && !values[i], "who was served true must stay so as the rollout grows")
		}
		last, lucky = state, values
	}
}

// arrived is what the application is served once it has been told of the change; one that is never told is looked at until it
// is near.
func arrived(t *testing.T, app Reader, told func(context.Context) (string, error), key string, percent int) []bool {
	t.Helper()
	if told == nil {
		var values []bool
		require.Eventually(t, func() bool {
			values = served(t, app, key, user)
			return math.Abs(share(values)-float64(percent)/100) < tolerance
		}, patience, poll)
		return values
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	changed, err := told(ctx)
	require.NoError(t, err, "the application's listener was never told")
	require.Equal(t, key, changed)
	return served(t, app, key, user)
}

func off(t *testing.T, f Fixture) {
	app := f.Application(t)
	require.NotZero(t, share(served(t, app, f.Furnished, user)))
	state, err := f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: 0}, note, nil)
	require.NoError(t, err)
	require.False(t, state.On)
	require.Zero(t, state.Percent)
	require.Eventually(t, func() bool { return share(served(t, app, f.Furnished, user)) == 0 }, patience, poll)
}

func exceptions(t *testing.T, f Fixture) {
	require.Len(t, f.Told, 2)
	require.NotEmpty(t, f.Exempt)
	app := f.Application(t)
	for percent, told := range f.Told {
		state, err := f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: percent}, note, nil)
		require.NoError(t, err)
		require.Equal(t, told, state.Exceptions)
		for _, e := range f.Exempt {
			require.Eventually(t, func() bool {
				value, ok := app.Bool(f.Furnished, e.ContextKind, e.ContextKey)
				return ok && value == e.Value
			}, patience, poll)
		}
	}
}

func applyAgain(t *testing.T, f Fixture) {
	first, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 25}, note, nil)
	require.NoError(t, err)
	again, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 25}, note, nil)
	require.NoError(t, err)
	require.Equal(t, first, again, "not even the version rises")
}

func preview(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	kind := device
	if f.OneKind {
		kind = ""
	}
	for _, percent := range []int{0, 1, 99, 100} {
		change := flags.Change{Percent: percent, ContextKind: kind}
		expected, err := f.Provider.Preview(t.Context(), f.Furnished, change)
		require.NoError(t, err)
		unchanged, err := f.Provider.Get(t.Context(), f.Furnished)
		require.NoError(t, err)
		require.Equal(t, before, unchanged)
		before, err = f.Provider.Apply(t.Context(), f.Furnished, change, note, nil)
		require.NoError(t, err)
		require.True(t, before.Equal(expected))
		require.Equal(t, before.Summary, expected.Summary)
		require.Equal(t, before.Exceptions, expected.Exceptions)
	}
}

func unwanted(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	var asked []flags.State
	still := func(_ context.Context, found flags.State) error {
		asked = append(asked, found)
		return flags.ErrSuperseded
	}
	_, err = f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: 50}, note, still)
	require.ErrorIs(t, err, flags.ErrSuperseded)
	require.Equal(t, []flags.State{before}, asked)
	after, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	require.Equal(t, before, after)
	_, err = f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: 25}, note, still)
	require.NoError(t, err, "nothing is changed, so nobody is asked")
}

func archive(t *testing.T, f Fixture) {
	app := f.Application(t)
	_, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 100}, note, nil)
	require.NoError(t, err)
	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	archived, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.True(t, archived.Archived)
	require.Equal(t, "archived", archived.Summary)
	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	again, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, archived, again)

	_, err = f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 50}, note, nil)
	require.ErrorIs(t, err, flags.ErrArchived)
	require.Eventually(t, func() bool {
		_, ok := app.Bool(f.Plain, user, "user-1")
		return !ok
	}, patience, poll, "the application must be left with its own fallback")
}

func unknown(t *testing.T, f Fixture) {
	const key = "no-such-flag"
	_, getErr := f.Provider.Get(t.Context(), key)
	_, previewErr := f.Provider.Preview(t.Context(), key, flags.Change{Percent: 1})
	_, applyErr := f.Provider.Apply(t.Context(), key, flags.Change{Percent: 1}, note, nil)
	_, restoreErr := f.Provider.Restore(t.Context(), key, flags.State{Key: key}, flags.State{Key: key}, note)
	_, statusErr := f.Provider.Status(t.Context(), key)
	archiveErr := f.Provider.Archive(t.Context(), key, note)
	for _, err := range []error{getErr, previewErr, applyErr, restoreErr, statusErr, archiveErr} {
		require.ErrorIs(t, err, flags.ErrNotFound)
		require.ErrorContains(t, err, key)
		require.True(t, flags.Permanent(err))
	}
}

func notBoolean(t *testing.T, f Fixture) {
	if f.Text == "" {
		return // the service cannot hold such a flag
	}
	_, err := f.Provider.Apply(t.Context(), f.Text, flags.Change{Percent: 100}, note, nil)
	require.ErrorIs(t, err, flags.ErrNotBoolean)
	require.ErrorContains(t, err, f.Text)
	require.True(t, flags.Permanent(err))
}

func invalid(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	for _, change := range []flags.Change{{Percent: -1}, {Percent: 101}, {Percent: 5, ContextKind: "multi"}, {ContextKind: "a b"}} {
		_, err = f.Provider.Apply(t.Context(), f.Plain, change, note, nil)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.True(t, flags.Permanent(err))
	}
	after, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func otherFlag(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	_, err = f.Provider.Restore(t.Context(), f.Plain, before, before, note)
	require.ErrorIs(t, err, flags.ErrInvalid)
}

func otherKind(t *testing.T, f Fixture) {
	byDevice := flags.Change{Percent: 30, ContextKind: device}
	if f.OneKind {
		_, err := f.Provider.Apply(t.Context(), f.Plain, byDevice, note, nil)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.ErrorContains(t, err, device)
		return
	}
	app := f.Application(t)
	_, err := f.Provider.Apply(t.Context(), f.Plain, byDevice, note, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got := share(served(t, app, f.Plain, device))
		return got > 0.3-tolerance && got < 0.3+tolerance
	}, patience, poll)
}
