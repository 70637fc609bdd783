package flagstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// mixer evaluates for contexts of several kinds; ok is false where there is no such thing.
func mixer(t *testing.T, f Fixture) (app interface {
	Reader
	Mixer
}, ok bool) {
	t.Helper()
	if f.OneKind || f.OneTargetKind {
		return nil, false
	}
	app, ok = f.Application(t).(interface {
		Reader
		Mixer
	})
	return app, ok
}

func mixed(t *testing.T, app Mixer, key string, want bool, contexts ...flags.Context) {
	t.Helper()
	require.Eventually(t, func() bool {
		value, ok := app.Mixed(key, contexts...)
		return ok && value == want
	}, patience, poll, "%s must serve %t to a request of %d contexts", key, want, len(contexts))
}

// mixedBystander is one whose contexts are named with different values: which of them decides must not change.
func mixedBystander(t *testing.T, f Fixture) {
	app, ok := mixer(t, f)
	if !ok {
		return
	}
	bystander := []flags.Context{{Kind: user, Key: f.exempt()}}
	for _, e := range f.Exempt {
		if e.ContextKind == device && e.Value {
			bystander = append(bystander, flags.Context{Kind: device, Key: e.ContextKey})
		}
	}
	require.Len(t, bystander, 2, "Exempt names no device that is served true")
	was, ok := app.Mixed(f.Furnished, bystander...)
	require.True(t, ok)
	before, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	ours := before
	for _, c := range []struct {
		change    flags.Change
		kind, key string
		served    bool
	}{
		{flags.Change{Percent: 25, Targets: map[string][]string{device: {"device-5"}}}, device, "device-5", true},
		{flags.Change{Percent: 25, Targets: map[string][]string{user: {zoe}}}, user, zoe, true},
		{flags.Change{Exclude: &flags.Context{Kind: user, Key: "ann"}}, user, "ann", false},
		{flags.Change{Exclude: &flags.Context{Kind: device, Key: "device-5"}}, device, "device-5", false},
		{flags.Change{Exclude: &flags.Context{Kind: user, Key: zoe}}, user, zoe, false},
	} {
		ours = apply(t, f, f.Furnished, c.change)
		serves(t, app, f.Furnished, c.kind, c.key, c.served)
		mixed(t, app, f.Furnished, was, bystander...)
	}
	after, err := f.Provider.Restore(t.Context(), f.Furnished, stored(t, before), stored(t, ours), note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
	if versions, ok := app.(Versioner); ok {
		require.Eventually(t, func() bool {
			version, ok := versions.Version(f.Furnished)
			return ok && version == after.SeenAs()
		}, patience, poll)
	}
	mixed(t, app, f.Furnished, was, bystander...)
}

func excludeMixed(t *testing.T, f Fixture) {
	app, ok := mixer(t, f)
	if !ok || !f.Ordered {
		return
	}
	apply(t, f, f.Plain, flags.Change{Percent: 100, Targets: map[string][]string{user: {"ann", "bert"}, device: {"phone", "watch"}}})
	contexts := func(userKey, deviceKey string) []flags.Context {
		return []flags.Context{{Kind: user, Key: userKey}, {Kind: device, Key: deviceKey}}
	}
	mixed(t, app, f.Plain, true, contexts("ann", "phone")...)
	apply(t, f, f.Plain, flags.Change{Exclude: &flags.Context{Kind: device, Key: "phone"}})
	mixed(t, app, f.Plain, false, contexts("ann", "phone")...)
	mixed(t, app, f.Plain, true, contexts("ann", "watch")...)
	apply(t, f, f.Plain, flags.Change{Exclude: &flags.Context{Kind: user, Key: "bert"}})
	mixed(t, app, f.Plain, false, contexts("bert", "watch")...)
	mixed(t, app, f.Plain, false, contexts("ann", "phone")...)
	mixed(t, app, f.Plain, true, contexts("ann", "watch")...)
}

// inverted is a flag that is off and serves true.
func inverted(t *testing.T, f Fixture) {
	if f.Inverted == "" {
		return
	}
	app := f.Application(t)
	before, err := f.Provider.Get(t.Context(), f.Inverted)
	require.NoError(t, err)
	require.Equal(t, "off: true", before.Summary)
	serves(t, app, f.Inverted, user, zoe, true)
	refused(t, f, f.Inverted, flags.Change{Exclude: &flags.Context{Kind: user, Key: zoe}}, "turn it off for everybody")
	for _, change := range []flags.Change{{Percent: 10}, {Targets: map[string][]string{user: {zoe}}}} {
		refused(t, f, f.Inverted, change, "would take it from some")
	}
	require.Equal(t, "off", apply(t, f, f.Inverted, flags.Change{}).Summary)
	serves(t, app, f.Inverted, user, zoe, false)
	require.Equal(t, "on: 100 % true", apply(t, f, f.Inverted, flags.Change{Percent: 100}).Summary)
	serves(t, app, f.Inverted, user, zoe, true)
	ours := apply(t, f, f.Inverted, flags.Change{})
	require.Equal(t, "off", ours.Summary)
	require.Eventually(t, func() bool { return share(served(t, app, f.Inverted, user)) == 0 }, patience, poll)
	after, err := f.Provider.Restore(t.Context(), f.Inverted, stored(t, before), stored(t, ours), note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
	serves(t, app, f.Inverted, user, zoe, true)
}
