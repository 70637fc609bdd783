package flagstest

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// createRehearsed tries what is possible: all of it can then be done.
func createRehearsed(t *testing.T, f Fixture) {
	c, ok := creator(f)
	if !ok {
		return
	}
	for _, plan := range f.creations() {
		key, wanted := plan.key, plan.flag
		require.NoError(t, c.RehearseCreate(t.Context(), key, wanted, plan.changes))
		_, err := f.Provider.Get(t.Context(), key)
		require.ErrorIs(t, err, flags.ErrNotFound, "it was only tried")

		require.NoError(t, c.Create(t.Context(), key, wanted))
		for _, change := range plan.changes {
			apply(t, f, key, change)
		}
		before, err := f.Provider.Get(t.Context(), key)
		require.NoError(t, err)
		require.NoError(t, c.RehearseCreate(t.Context(), key, wanted, plan.changes), "somebody may have made it")
		after, err := f.Provider.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
}

// creation is a flag to be made, and what a plan does with it then.
type creation struct {
	key     string
	flag    flags.NewFlag
	changes []flags.Change
}

func (f Fixture) creations() []creation {
	first := flags.Change{Targets: f.named()}
	rollout := flags.Change{Percent: 10, Targets: f.named()}
	if f.Segment != "" {
		first.Segments, rollout.Segments = []string{f.Segment}, []string{f.Segment}
	}
	if !f.OneKind {
		rollout.ContextKind = device
	}
	out := []creation{{made, flags.NewFlag{Name: "Made", Tags: []string{"conformance"}}, []flags.Change{first, rollout, {Percent: 100}, {}}}}
	if f.Migration != "" {
		out = append(out, creation{madeStaged, flags.NewFlag{Migration: true},
			[]flags.Change{{Stage: flags.StageOff}, {Stage: flags.StageShadow}, {Stage: flags.StageComplete}}})
	}
	return out
}

// createImpossible tries what fails at the creation or behind it: the same as is refused then.
func createImpossible(t *testing.T, f Fixture) {
	c, ok := creator(f)
	if !ok {
		return
	}
	type impossible struct {
		key     string
		flag    flags.NewFlag
		changes []flags.Change
		names   string
	}
	cases := map[string]impossible{
		"no such segment":           {changes: []flags.Change{{Percent: 10}, {Percent: 20, Segments: []string{noSegment}}}, names: "segment"},
		"a stage of a boolean flag": {changes: []flags.Change{{Stage: flags.StageShadow}}, names: made},
		"more than everybody":       {changes: []flags.Change{{Percent: 50}, {Percent: 101}}, names: "101"},
		"another kind of flag":      {key: f.Plain, flag: flags.NewFlag{Migration: true}, names: f.Plain},
	}
	if f.Segment != "" {
		cases["no such segment"] = impossible{changes: []flags.Change{{Segments: []string{f.Segment, noSegment}}}, names: noSegment}
	}
	if f.Migration == "" {
		cases["no migration flags"] = impossible{flag: flags.NewFlag{Migration: true}, names: made}
	} else {
		cases["a percentage of a migration flag"] = impossible{
			flag: flags.NewFlag{Migration: true}, changes: []flags.Change{{Stage: flags.StageShadow}, {Percent: 10}}, names: made}
	}
	switch {
	case f.OneKind || f.OneTargetKind:
		cases["a target of a kind that there is not"] = impossible{changes: []flags.Change{{Targets: map[string][]string{device: {zoe}}}}, names: device}
	default:
		cases["another kind on the way"] = impossible{changes: []flags.Change{{Percent: 10}, {Percent: 20, ContextKind: device}}, names: device}
	}
	for name, i := range cases {
		key := i.key
		if key == "" {
			key = made + "-" + strings.ReplaceAll(name, " ", "-")
		}
		requireRefused := func(err error) {
			t.Helper()
			require.Error(t, err, name)
			require.True(t, isRefusal(err), "%s: %v", name, err)
			require.ErrorContains(t, err, i.names, name)
			require.NotContains(t, err.Error(), zoe)
		}
		requireRefused(c.RehearseCreate(t.Context(), key, i.flag, i.changes))
		_, err := f.Provider.Get(t.Context(), key)
		require.Equal(t, i.key == "", errors.Is(err, flags.ErrNotFound), "%s: it was only tried", name)

		err = c.Create(t.Context(), key, i.flag)
		for _, change := range i.changes {
			if err == nil {
				_, err = f.Provider.Apply(t.Context(), key, change, note, nil)
			}
		}
		requireRefused(err)
	}
	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	require.ErrorIs(t, c.RehearseCreate(t.Context(), f.Plain, flags.NewFlag{}, nil), flags.ErrArchived)
}
