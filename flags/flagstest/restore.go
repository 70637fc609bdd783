package flagstest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// stored takes a state through a database that keeps JSON but not its order.
func stored(t *testing.T, state flags.State) flags.State {
	t.Helper()
	var config any
	require.NoError(t, json.Unmarshal(state.Config, &config))
	reordered, err := json.MarshalIndent(config, "", " ")
	require.NoError(t, err)
	state.Config = reordered
	raw, err := json.Marshal(state)
	require.NoError(t, err)
	var out flags.State
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

// asGot is the state as Get has it, which does not know what applications' SDKs count.
func asGot(state flags.State) flags.State {
	state.Served = 0
	return state
}

func restore(t *testing.T, f Fixture) {
	for _, key := range []string{f.Plain, f.Furnished} {
		app := f.Application(t)
		valuesBefore := served(t, app, key, user)
		before, err := f.Provider.Get(t.Context(), key)
		require.NoError(t, err)
		for _, percent := range []int{0, 50, 100} {
			ours, err := f.Provider.Apply(t.Context(), key, flags.Change{Percent: percent}, note, nil)
			require.NoError(t, err)
			after, err := f.Provider.Restore(t.Context(), key, stored(t, before), stored(t, ours), note, nil)
			require.NoError(t, err)
			require.JSONEq(t, string(before.Config), string(after.Config))
			require.True(t, after.Equal(before))
			require.Equal(t, before.Summary, after.Summary)
			got, err := f.Provider.Get(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, asGot(after), got)
		}
		require.Eventually(t, func() bool {
			return equal(valuesBefore, served(t, app, key, user))
		}, patience, poll, "every single context must be served what it was before")
	}
}

func equal(a, b []bool) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

func restoreAgain(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	ours, err := f.Provider.Apply(t.Context(), f.Furnished, flags.Change{Percent: 100}, note, nil)
	require.NoError(t, err)
	first, err := f.Provider.Restore(t.Context(), f.Furnished, before, ours, note, nil)
	require.NoError(t, err)
	again, err := f.Provider.Restore(t.Context(), f.Furnished, before, ours, note, nil)
	require.NoError(t, err)
	require.Equal(t, first, again)
}

func stranger(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	ours, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 50}, note, nil)
	require.NoError(t, err)
	const secret = "mallory-4711"
	f.Target(t, f.Plain, secret)
	theirs, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, "on: 50 % true, 1 target", theirs.Summary)

	_, err = f.Provider.Restore(t.Context(), f.Plain, before, ours, note, nil)
	require.ErrorIs(t, err, flags.ErrStranger)
	var refusal *flags.Stranger
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, []string{"the individual targets are others"}, refusal.Differs)
	require.NotContains(t, err.Error(), secret)
	require.True(t, flags.Permanent(err))
	left, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, theirs, left)

	_, err = f.Provider.Restore(t.Context(), f.Plain, before, flags.State{}, note, nil)
	require.ErrorIs(t, err, flags.ErrStranger, "without a record of our own change everything is a stranger's")
}

func strangerArchived(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	ours, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 50}, note, nil)
	require.NoError(t, err)
	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	_, err = f.Provider.Restore(t.Context(), f.Plain, before, ours, note, nil)
	var refusal *flags.Stranger
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, []string{"it was archived"}, refusal.Differs)
}

func restoreArchived(t *testing.T, f Fixture) {
	live, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	require.NoError(t, f.Provider.Archive(t.Context(), f.Furnished, note))
	archived, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	_, err = f.Provider.Restore(t.Context(), f.Furnished, live, archived, note, nil)
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	require.ErrorContains(t, err, "out of the archive, by hand")
	again, err := f.Provider.Restore(t.Context(), f.Furnished, archived, live, note, nil)
	require.NoError(t, err, "it is as before")
	require.Equal(t, archived, asGot(again))

	plain, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	wasArchived := plain
	wasArchived.Archived, wasArchived.Summary = true, "archived"
	_, err = f.Provider.Restore(t.Context(), f.Plain, wasArchived, plain, note, nil)
	require.ErrorIs(t, err, flags.ErrNotRestorable, "a live flag is not what it was")
	after, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	require.Equal(t, plain, after)
}

// changes are of every sort that the service knows for boolean flags.
func (f Fixture) changes() []flags.Change {
	out := []flags.Change{
		{Targets: f.named()},
		{Percent: 10, Targets: map[string][]string{user: {f.exempt(), "ann"}}},
		{Exclude: &flags.Context{Kind: user, Key: "user-7"}},
		{Percent: 50},
		{Percent: 100, Targets: map[string][]string{user: {"user-7"}}},
		{Exclude: &flags.Context{Kind: user, Key: zoe}},
		{},
	}
	if f.Segment != "" {
		out = append(out, flags.Change{Segments: []string{f.Segment}},
			flags.Change{Percent: 10, Targets: f.named(), Segments: []string{f.Segment}},
			flags.Change{Exclude: &flags.Context{Kind: user, Key: f.Members[0]}})
	}
	return out
}

func restoreEvery(t *testing.T, f Fixture) {
	app := f.Application(t)
	for _, key := range []string{f.Plain, f.Furnished} {
		valuesBefore := served(t, app, key, user)
		before, err := f.Provider.Get(t.Context(), key)
		require.NoError(t, err)
		back := func(ours flags.State) {
			t.Helper()
			after, err := f.Provider.Restore(t.Context(), key, stored(t, before), stored(t, ours), note, nil)
			require.NoError(t, err)
			require.JSONEq(t, string(before.Config), string(after.Config))
			require.Equal(t, before.Summary, after.Summary)
			again, err := f.Provider.Restore(t.Context(), key, stored(t, before), stored(t, ours), note, nil)
			require.NoError(t, err)
			require.Equal(t, after.Version, again.Version)
		}
		for _, change := range f.changes() {
			back(apply(t, f, key, change))
		}
		var ours flags.State
		for _, change := range f.changes() {
			ours = apply(t, f, key, change)
		}
		back(ours)
		require.Eventually(t, func() bool {
			return equal(valuesBefore, served(t, app, key, user))
		}, patience, poll, "every single context must be served what it was before")
	}
}

func strangerShown(t *testing.T, f Fixture) {
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	ours, err := f.Provider.Apply(t.Context(), f.Plain, flags.Change{Percent: 50}, note, nil)
	require.NoError(t, err)
	f.Target(t, f.Plain, zoe)
	shown := func(ours flags.State) *flags.Stranger {
		t.Helper()
		_, err := f.Provider.Restore(t.Context(), f.Plain, before, ours, note, nil)
		var refusal *flags.Stranger
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, f.Plain, refusal.Key)
		require.NotContains(t, err.Error(), zoe)
		return refusal
	}
	refusal := shown(ours)
	require.Equal(t, "on: 50 % true", refusal.Ours)
	require.Equal(t, "on: 50 % true, 1 target", refusal.Theirs)
	refusal = shown(flags.State{})
	require.Empty(t, refusal.Ours, "this migration left none")
	require.Equal(t, "on: 50 % true, 1 target", refusal.Theirs)
	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	refusal = shown(ours)
	require.Equal(t, "on: 50 % true", refusal.Ours)
	require.Equal(t, "archived", refusal.Theirs)
}
