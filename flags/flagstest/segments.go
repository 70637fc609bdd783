package flagstest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// isRefusal tells whether an error says that the flag, or the service, knows no such change.
func isRefusal(err error) bool {
	return errors.Is(err, flags.ErrInvalid) || errors.Is(err, flags.ErrNotBoolean)
}

const noSegment = "no-such-segment"

func segments(t *testing.T, f Fixture) {
	if f.Segment == "" {
		refused(t, f, f.Plain, flags.Change{Percent: 10, Segments: []string{noSegment}}, "segment")
		return
	}
	require.GreaterOrEqual(t, len(f.Members), 2)
	app := f.Application(t)
	change := flags.Change{Segments: []string{f.Segment}}
	state := apply(t, f, f.Plain, change)
	require.True(t, state.On)
	require.Zero(t, state.Percent)
	require.Equal(t, "on: 0 % true, 1 rule", state.Summary)
	require.Equal(t, []string{"1 rule"}, state.Exceptions)
	for _, member := range f.Members {
		serves(t, app, f.Plain, user, member, true)
	}
	require.Empty(t, only(t, app, f.Plain, user), "nobody else")

	change.Percent = 10
	state = apply(t, f, f.Plain, change)
	require.Equal(t, "on: 10 % true, 1 rule", state.Summary, "the rule is not made twice")
	state = apply(t, f, f.Plain, flags.Change{Percent: 100})
	require.Equal(t, "on: 100 % true, 1 rule", state.Summary, "what a change does not speak of stays")
	require.Empty(t, state.Exceptions)
}

func segmentsAbove(t *testing.T, f Fixture) {
	if f.Segment == "" {
		return
	}
	app := f.Application(t)
	change := flags.Change{Segments: []string{f.Segment}}
	f.Rule(t, f.Plain, f.Members[0])
	state := apply(t, f, f.Plain, change)
	require.Equal(t, "on: 0 % true, 2 rules", state.Summary)
	for _, member := range f.Members {
		serves(t, app, f.Plain, user, member, true)
	}
	f.Rule(t, f.Plain, f.Members[1])
	serves(t, app, f.Plain, user, f.Members[1], false)
	before, err := f.Provider.Get(t.Context(), f.Plain)
	require.NoError(t, err)
	change.Percent = 10
	state = apply(t, f, f.Plain, change)
	require.Equal(t, "on: 10 % true, 3 rules", state.Summary, "the rule is moved, not made twice")
	for _, member := range f.Members {
		serves(t, app, f.Plain, user, member, true)
	}
	after, err := f.Provider.Restore(t.Context(), f.Plain, stored(t, before), stored(t, state), note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config), "rules come back in their order")
	serves(t, app, f.Plain, user, f.Members[1], false)
	serves(t, app, f.Plain, user, f.Members[0], true)
}

func segmentsMissing(t *testing.T, f Fixture) {
	if f.Segment == "" {
		return // all are refused
	}
	refused(t, f, f.Furnished, flags.Change{Percent: 10, Segments: []string{f.Segment, noSegment}}, noSegment)
}
