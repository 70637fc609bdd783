package flagstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

const (
	made       = "made"
	madeStaged = "made-in-stages"
)

// creator has no flags to make where ok is false.
func creator(f Fixture) (c flags.Creator, ok bool) {
	c, ok = f.Provider.(flags.Creator)
	return c, ok
}

func create(t *testing.T, f Fixture) {
	c, ok := creator(f)
	if !ok {
		return
	}
	require.NoError(t, c.Create(t.Context(), made, flags.NewFlag{Name: "Made", Description: "by the suite", Tags: []string{"conformance"}}))
	state, err := f.Provider.Get(t.Context(), made)
	require.NoError(t, err)
	require.Equal(t, "off", state.Summary)
	app := f.Application(t)
	serves(t, app, made, user, zoe, false)
	apply(t, f, made, flags.Change{Percent: 100})
	serves(t, app, made, user, zoe, true)

	staged := flags.NewFlag{Migration: true}
	if f.Migration == "" {
		require.ErrorIs(t, c.Create(t.Context(), madeStaged, staged), flags.ErrInvalid)
		_, err = f.Provider.Get(t.Context(), madeStaged)
		require.ErrorIs(t, err, flags.ErrNotFound)
		return
	}
	require.NoError(t, c.Create(t.Context(), madeStaged, staged))
	state, err = f.Provider.Get(t.Context(), madeStaged)
	require.NoError(t, err)
	require.Equal(t, "off", state.Summary)
	readsStages := stager(t, f)
	servesStage(t, readsStages, madeStaged, zoe, flags.StageOff)
	apply(t, f, madeStaged, flags.Change{Stage: flags.StageDualWrite})
	servesStage(t, readsStages, madeStaged, zoe, flags.StageDualWrite)
}

func createAgain(t *testing.T, f Fixture) {
	c, ok := creator(f)
	if !ok {
		return
	}
	require.NoError(t, c.Create(t.Context(), made, flags.NewFlag{Name: "Made"}))
	apply(t, f, made, flags.Change{Percent: 30})
	before, err := f.Provider.Get(t.Context(), made)
	require.NoError(t, err)
	require.NoError(t, c.Create(t.Context(), made, flags.NewFlag{Name: "Another"}))
	after, err := f.Provider.Get(t.Context(), made)
	require.NoError(t, err)
	require.Equal(t, before, after)
	if f.Migration != "" {
		require.NoError(t, c.Create(t.Context(), f.Migration, flags.NewFlag{Migration: true}))
	}
}

func createOther(t *testing.T, f Fixture) {
	c, ok := creator(f)
	if !ok {
		return
	}
	require.ErrorIs(t, c.Create(t.Context(), f.Plain, flags.NewFlag{Migration: true}), flags.ErrInvalid)
	for _, key := range []string{f.Text, f.Migration} {
		if key == "" {
			continue
		}
		err := c.Create(t.Context(), key, flags.NewFlag{})
		require.ErrorIs(t, err, flags.ErrInvalid, key)
		require.ErrorContains(t, err, key)
	}
	require.NoError(t, f.Provider.Archive(t.Context(), f.Plain, note))
	err := c.Create(t.Context(), f.Plain, flags.NewFlag{})
	require.ErrorIs(t, err, flags.ErrArchived)
	require.ErrorContains(t, err, f.Plain)
}

func dependents(t *testing.T, f Fixture) {
	d, ok := f.Provider.(flags.Depender)
	if !ok {
		return
	}
	is := func(key string, want ...string) {
		t.Helper()
		got, err := d.Dependents(t.Context(), key)
		require.NoError(t, err)
		if len(want) == 0 {
			require.Empty(t, got)
			return
		}
		require.Equal(t, want, got)
	}
	is(f.Plain)
	f.Depend(t, f.Furnished, f.Plain)
	is(f.Plain, f.Furnished)
	is(f.Furnished)
	state, err := f.Provider.Get(t.Context(), f.Furnished)
	require.NoError(t, err)
	require.Contains(t, state.Exceptions, "prerequisite "+f.Plain)
	require.NoError(t, f.Provider.Archive(t.Context(), f.Furnished, note))
	is(f.Plain)
}

func rehearse(t *testing.T, f Fixture) {
	r, ok := f.Provider.(flags.Rehearser)
	if !ok {
		return
	}
	for _, key := range []string{f.Plain, f.Furnished} {
		before, err := f.Provider.Get(t.Context(), key)
		require.NoError(t, err)
		for _, change := range f.changes() {
			require.NoError(t, r.Rehearse(t.Context(), key, change))
		}
		after, err := f.Provider.Get(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, before, after)
	}
	require.ErrorIs(t, r.Rehearse(t.Context(), "no-such-flag", flags.Change{Percent: 1}), flags.ErrNotFound)
	require.ErrorIs(t, r.Rehearse(t.Context(), f.Plain, flags.Change{Percent: 101}), flags.ErrInvalid)
}
