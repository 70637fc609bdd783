// Package flagstest is what every flags.Provider must pass: run it against your own with Run.
package flagstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// Fixture is a provider with flags prepared behind its back.
type Fixture struct {
	Provider flags.Provider
	// Plain is a boolean flag: off, true by its default rule, without targets and rules.
	Plain string
	// Furnished is a boolean flag: on, a 25 % rollout of true, false for the user "user-1", true for the device "phone",
	// and a rule that serves true to users whose key ends with "77".
	Furnished string
	// Text is a flag that serves texts.
	Text string
	// Target lets a stranger serve true to one user, not through the provider.
	Target func(t *testing.T, key, user string)
	// Application starts a client of the real SDK as an application would, and waits until it has flags.
	Application func(t *testing.T) *ld.LDClient
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

func user(i int) ldcontext.Context { return ldcontext.New(fmt.Sprintf("user-%d", i)) }

// served evaluates the flag for all contexts.
func served(t *testing.T, app *ld.LDClient, key string, context func(int) ldcontext.Context) []bool {
	t.Helper()
	out := make([]bool, contexts)
	for i := range out {
		value, err := app.BoolVariation(key, context(i), false)
		require.NoError(t, err)
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
	changes := app.GetFlagTracker().AddFlagChangeListener()
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

		select {
		case change := <-changes:
			require.Equal(t, f.Plain, change.Key)
		case <-time.After(patience):
			require.Fail(t, "the application's listener was never told")
		}
		values := served(t, app, f.Plain, user)
		require.InDelta(t, float64(percent)/100, share(values), tolerance)
		for i := range values {
			require.False(t, lucky[i] && !values[i], "who was served true must stay so as the rollout grows")
		}
		last, lucky = state, values
	}
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
	app := f.Application(t)
	check := func(context ldcontext.Context, want bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			value, err := app.BoolVariation(f.Furnished, context, !want)
			return err == nil && value == want
		}, patience, poll)
	}
	for percent, told := range map[int][]string{100: {"1 target"}, 1: {"2 targets", "1 rule"}} {
		state, err := f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: percent}, note, nil)
		require.NoError(t, err)
		require.Equal(t, told, state.Exceptions)
		check(ldcontext.New("user-1"), false)
		check(ldcontext.NewWithKind("device", "phone"), true)
		check(ldcontext.New("user-77"), true)
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
	for _, percent := range []int{0, 1, 99, 100} {
		change := flags.Change{Percent: percent, ContextKind: "device"}
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
		value, err := app.BoolVariation(f.Plain, user(1), false)
		return err != nil && !value
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
	app := f.Application(t)
	_, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 30, ContextKind: "device"}, note, nil)
	require.NoError(t, err)
	device := func(i int) ldcontext.Context { return ldcontext.NewWithKind("device", fmt.Sprintf("device-%d", i)) }
	require.Eventually(t, func() bool {
		got := share(served(t, app, f.Plain, device))
		return got > 0.3-tolerance && got < 0.3+tolerance
	}, patience, poll)
}
