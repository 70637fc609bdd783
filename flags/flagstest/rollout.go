package flagstest

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

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
		before = asGot(before)
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

	ours, err := f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: 50}, note, nil)
	require.NoError(t, err)
	asked = nil
	_, err = f.Provider.Restore(t.Context(), f.Furnished, before, ours, note, still)
	require.ErrorIs(t, err, flags.ErrSuperseded)
	require.Equal(t, []flags.State{asGot(ours)}, asked)
	after, err = f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	require.Equal(t, asGot(ours), after)
	_, err = f.Provider.Restore(t.Context(), f.Furnished, ours, ours, note, still)
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
	_, restoreErr := f.Provider.Restore(t.Context(), key, flags.State{Key: key}, flags.State{Key: key}, note, nil)
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
	for _, change := range []flags.Change{{Percent: -1}, {Percent: 101}, {Percent: 5, ContextKind: "multi"}, {ContextKind: "a b"},
		{Targets: map[string][]string{user: {"caf\xe9"}}}, {Exclude: &flags.Context{Kind: user, Key: "caf\xe9"}}} {
		_, err = f.Provider.Preview(t.Context(), f.Plain, change)
		require.ErrorIs(t, err, flags.ErrInvalid)
		_, err = f.Provider.Apply(t.Context(), f.Plain, change, note, nil)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.True(t, flags.Permanent(err))
		require.NotContains(t, err.Error(), "caf")
	}
	after, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func otherFlag(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	_, err = f.Provider.Restore(t.Context(), f.Plain, before, before, note, nil)
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
	if f.KindAlone {
		require.Zero(t, share(served(t, app, f.Plain, user)), "users are of another kind")
		_, err = f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 60, ContextKind: device}, note, nil)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return share(served(t, app, f.Plain, device)) > 0.6-tolerance }, patience, poll)
		require.Zero(t, share(served(t, app, f.Plain, user)))
	}
}

// previews goes through all changes one behind the other.
func previews(t *testing.T, f Fixture) {
	for _, key := range []string{f.Plain, f.Furnished} {
		for _, change := range f.changes() {
			before, err := f.Provider.Get(t.Context(), key)
			require.NoError(t, err)
			expected, err := f.Provider.Preview(t.Context(), key, change)
			require.NoError(t, err)
			unchanged, err := f.Provider.Get(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, before, unchanged)
			state := apply(t, f, key, change)
			require.True(t, state.Equal(expected))
			require.Equal(t, state.Summary, expected.Summary)
			require.Equal(t, state.Exceptions, expected.Exceptions)
		}
	}
}

func versions(t *testing.T, f Fixture) {
	app, ok := f.Application(t).(Versioner)
	if !ok {
		return
	}
	is := func(state flags.State) {
		t.Helper()
		require.Eventually(t, func() bool {
			version, ok := app.Version(f.Plain)
			return ok && version == state.SeenAs()
		}, patience, poll, "the application must come to version %d", state.SeenAs())
	}
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	var ours flags.State
	for _, change := range []flags.Change{{Percent: 10}, {Percent: 20, Targets: f.named()}, {Exclude: &flags.Context{Kind: user, Key: zoe}}, {}} {
		ours = apply(t, f, f.Plain, change)
		is(ours)
	}
	back, err := f.Provider.Restore(t.Context(), f.Plain, before, ours, note, nil)
	require.NoError(t, err)
	is(back)
}
