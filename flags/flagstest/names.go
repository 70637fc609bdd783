package flagstest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// zoe is somebody whom nothing else names.
const zoe = "zoe-4711"

// named are two users and, where they can be targeted, one device; one user and the device are among those of served.
func (f Fixture) named() map[string][]string {
	out := map[string][]string{user: {"user-5", zoe}}
	if !f.OneKind && !f.OneTargetKind {
		out[device] = []string{"device-5"}
	}
	return out
}

func targetCount(n int) string {
	if n == 1 {
		return "1 target"
	}
	return fmt.Sprintf("%d targets", n)
}

// apply makes a change that must succeed, and be none the second time.
func apply(t *testing.T, f Fixture, key string, c flags.Change) flags.State {
	t.Helper()
	state, err := f.Provider.Apply(t.Context(), key, c, note, nil)
	require.NoError(t, err)
	again, err := f.Provider.Apply(t.Context(), key, c, note, nil)
	require.NoError(t, err)
	require.True(t, again.Equal(state))
	require.Equal(t, state.Version, again.Version, "applied again it changes nothing, not even the version")
	got, err := f.Provider.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, got.Equal(state))
	return state
}

// serves waits until the application is served a value.
func serves(t *testing.T, app Reader, key, kind, contextKey string, want bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		value, ok := app.Bool(key, kind, contextKey)
		return ok && value == want
	}, patience, poll, "%s must be served %t to the %s %s", key, want, kind, contextKey)
}

// only lists the contexts of served who are served true.
func only(t *testing.T, app Reader, key, kind string) []string {
	t.Helper()
	var out []string
	for i, value := range served(t, app, key, kind) {
		if value {
			out = append(out, fmt.Sprintf("%s-%d", kind, i))
		}
	}
	return out
}

func targets(t *testing.T, f Fixture) {
	app := f.Application(t)
	named := f.named()
	n := len(named[user]) + len(named[device])
	state := apply(t, f, f.Plain, flags.Change{Targets: named})
	require.True(t, state.On)
	require.Zero(t, state.Percent)
	require.Equal(t, "on: 0 % true, "+targetCount(n), state.Summary)
	require.Equal(t, []string{targetCount(n)}, state.Exceptions)
	serves(t, app, f.Plain, user, zoe, true)
	for kind := range named {
		require.Equal(t, []string{kind + "-5"}, only(t, app, f.Plain, kind), "nobody else")
	}

	state = apply(t, f, f.Plain, flags.Change{Percent: 10, Targets: named})
	require.Equal(t, "on: 10 % true, "+targetCount(n), state.Summary, "who is targeted already is not targeted again")
	require.Eventually(t, func() bool {
		got := share(served(t, app, f.Plain, user))
		return got > 0.1-tolerance && got < 0.1+tolerance
	}, patience, poll)
	serves(t, app, f.Plain, user, "user-5", true)

	state = apply(t, f, f.Plain, flags.Change{Percent: 20, Targets: map[string][]string{user: {"ann"}}})
	require.Equal(t, "on: 20 % true, "+targetCount(n+1), state.Summary, "who was targeted before stays so")
	state = apply(t, f, f.Plain, flags.Change{Percent: 100})
	require.Equal(t, "on: 100 % true, "+targetCount(n+1), state.Summary)
	require.Empty(t, state.Exceptions)
	state = apply(t, f, f.Plain, flags.Change{})
	require.Equal(t, "off", state.Summary)
	serves(t, app, f.Plain, user, zoe, false)
}

func targetsMoved(t *testing.T, f Fixture) {
	app := f.Application(t)
	name := f.exempt()
	require.NotEmpty(t, name, "Exempt names no user who is served false")
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	ours := apply(t, f, f.Furnished, flags.Change{Percent: 25, Targets: map[string][]string{user: {name}}})
	require.Equal(t, before.Summary, ours.Summary, "one target is another's no more")
	require.False(t, ours.Equal(before))
	serves(t, app, f.Furnished, user, name, true)
	for _, e := range f.Exempt {
		if e.ContextKind != user || e.ContextKey != name {
			serves(t, app, f.Furnished, e.ContextKind, e.ContextKey, e.Value)
		}
	}
	after, err := f.Provider.Restore(t.Context(), f.Furnished, stored(t, before), stored(t, ours), note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
	serves(t, app, f.Furnished, user, name, false)
}

func targetKinds(t *testing.T, f Fixture) {
	if !f.OneKind && !f.OneTargetKind {
		return
	}
	for _, change := range []flags.Change{
		{Targets: map[string][]string{device: {zoe}}}, {Exclude: &flags.Context{Kind: device, Key: zoe}},
	} {
		refused(t, f, f.Furnished, change, device)
	}
}

// refused is a change that nobody can make: before, and without a change of anything. Its error names a part of it, and never
// a target.
func refused(t *testing.T, f Fixture, key string, c flags.Change, names string) {
	t.Helper()
	before, err := f.Provider.Get(t.Context(), key)
	require.NoError(t, err)
	_, previewErr := f.Provider.Preview(t.Context(), key, c)
	_, applyErr := f.Provider.Apply(t.Context(), key, c, note, nil)
	errs := []error{previewErr, applyErr}
	if r, ok := f.Provider.(flags.Rehearser); ok {
		errs = append(errs, r.Rehearse(t.Context(), key, c))
	}
	for _, err := range errs {
		require.Error(t, err)
		require.True(t, isRefusal(err), "%v", err)
		require.True(t, flags.Permanent(err))
		require.ErrorContains(t, err, names)
		require.NotContains(t, err.Error(), zoe)
	}
	after, err := f.Provider.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func exclude(t *testing.T, f Fixture) {
	app := f.Application(t)
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	apply(t, f, f.Plain, flags.Change{Percent: 50})
	require.Eventually(t, func() bool { return share(served(t, app, f.Plain, user)) > 0.5-tolerance }, patience, poll)
	want := served(t, app, f.Plain, user)
	in, out := slices.Index(want, true), slices.Index(want, false)
	for _, i := range []int{in, out} { // who is served false already stays so when the rollout grows
		name := fmt.Sprintf("user-%d", i)
		state := apply(t, f, f.Plain, flags.Change{Exclude: &flags.Context{Kind: user, Key: name}})
		require.True(t, state.On)
		require.InDelta(t, 50, state.Percent, 1e-9)
		require.NotContains(t, fmt.Sprint(state.Summary, state.Exceptions), name)
		serves(t, app, f.Plain, user, name, false)
		want[i] = false
		require.True(t, equal(want, served(t, app, f.Plain, user)), "nobody else's value changes")
	}
	ours := apply(t, f, f.Plain, flags.Change{Percent: 100})
	require.NotEmpty(t, ours.Exceptions, "not everybody is served true")
	require.Eventually(t, func() bool { return share(served(t, app, f.Plain, user)) > 0.99 }, patience, poll)
	for i, value := range served(t, app, f.Plain, user) {
		require.Equal(t, i != in && i != out, value)
	}
	after, err := f.Provider.Restore(t.Context(), f.Plain, before, ours, note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
}

func excludeNamed(t *testing.T, f Fixture) {
	app := f.Application(t)
	change := flags.Change{Percent: 10, Targets: f.named()}
	if f.Segment != "" {
		change.Segments = []string{f.Segment}
	}
	apply(t, f, f.Plain, change)
	named := f.named()
	if f.Segment != "" {
		named[user] = append(named[user], f.Members[0])
	}
	for _, kind := range slices.Sorted(maps.Keys(named)) {
		for _, name := range named[kind] {
			serves(t, app, f.Plain, kind, name, true)
			apply(t, f, f.Plain, flags.Change{Exclude: &flags.Context{Kind: kind, Key: name}})
			serves(t, app, f.Plain, kind, name, false)
		}
	}
	if f.Segment != "" {
		serves(t, app, f.Plain, user, f.Members[1], true)
	}
}

func excludeOff(t *testing.T, f Fixture) {
	app := f.Application(t)
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	change := flags.Change{Exclude: &flags.Context{Kind: user, Key: zoe}}
	expected, err := f.Provider.Preview(t.Context(), f.Plain, change)
	require.NoError(t, err)
	after := apply(t, f, f.Plain, change)
	require.True(t, after.Equal(expected))
	require.False(t, after.On)
	again := apply(t, f, f.Plain, change)
	require.Equal(t, after.Version, again.Version)
	ours := apply(t, f, f.Plain, flags.Change{Percent: 100})
	serves(t, app, f.Plain, user, "user-1", true)
	serves(t, app, f.Plain, user, zoe, false)
	back, err := f.Provider.Restore(t.Context(), f.Plain, before, ours, note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(back.Config))

	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	_, err = f.Provider.Apply(t.Context(), f.Plain, change, note, nil)
	require.ErrorIs(t, err, flags.ErrArchived)
	require.NotContains(t, err.Error(), zoe)
}

func nobodyNamed(t *testing.T, f Fixture) {
	app := f.Application(t)
	apply(t, f, f.Plain, flags.Change{Percent: 100})
	serves(t, app, f.Plain, user, zoe, true)
	require.Equal(t, "off", apply(t, f, f.Plain, flags.Change{Targets: map[string][]string{user: {}}}).Summary)
	serves(t, app, f.Plain, user, zoe, false)
}
