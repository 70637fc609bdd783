package flagstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// stager is the reading side of migration flags.
func stager(t *testing.T, f Fixture) Stager {
	t.Helper()
	app, ok := f.Application(t).(Stager)
	require.True(t, ok, "the fixture has a migration flag, and its application can't evaluate it")
	return app
}

func servesStage(t *testing.T, app Stager, key, contextKey string, want flags.Stage) {
	t.Helper()
	require.Eventually(t, func() bool {
		stage, ok := app.Stage(key, user, contextKey)
		return ok && stage == string(want)
	}, patience, poll, "%s must serve %s the stage %s", key, contextKey, want)
}

func stages(t *testing.T, f Fixture) {
	if f.Migration == "" {
		refused(t, f, f.Plain, flags.Change{Stage: flags.StageShadow}, f.Plain)
		return
	}
	app := stager(t, f)
	last, err := f.Provider.Get(t.Context(), f.Migration)
	require.NoError(t, err)
	require.Equal(t, "off", last.Summary)
	servesStage(t, app, f.Migration, zoe, flags.StageOff)
	for _, stage := range flags.Stages()[1:] {
		state := apply(t, f, f.Migration, flags.Change{Stage: stage})
		require.True(t, state.On)
		require.Equal(t, stage, state.Stage)
		require.Zero(t, state.Percent)
		require.Equal(t, "on: stage "+string(stage), state.Summary)
		require.Empty(t, state.Exceptions)
		require.Greater(t, state.Version, last.Version)
		require.False(t, state.Equal(last))
		servesStage(t, app, f.Migration, zoe, stage)
		servesStage(t, app, f.Migration, "user-1", stage)
		last = state
	}
	state := apply(t, f, f.Migration, flags.Change{Stage: flags.StageOff})
	require.False(t, state.On)
	require.Equal(t, "off", state.Summary)
	servesStage(t, app, f.Migration, zoe, flags.StageOff)
}

func restoreStages(t *testing.T, f Fixture) {
	if f.Migration == "" {
		return
	}
	app := stager(t, f)
	before, err := f.Provider.Get(t.Context(), f.Migration)
	require.NoError(t, err)
	for _, stage := range flags.Stages() {
		ours := apply(t, f, f.Migration, flags.Change{Stage: stage})
		after, err := f.Provider.Restore(t.Context(), f.Migration, stored(t, before), stored(t, ours), note, nil)
		require.NoError(t, err)
		require.JSONEq(t, string(before.Config), string(after.Config))
		require.Equal(t, before.Summary, after.Summary)
	}
	servesStage(t, app, f.Migration, zoe, flags.StageOff)

	shadow := apply(t, f, f.Migration, flags.Change{Stage: flags.StageShadow})
	theirs := apply(t, f, f.Migration, flags.Change{Stage: flags.StageComplete})
	_, err = f.Provider.Restore(t.Context(), f.Migration, before, shadow, note, nil)
	var refusal *flags.Stranger
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, "on: stage shadow", refusal.Ours)
	require.Equal(t, "on: stage complete", refusal.Theirs)
	require.NotEmpty(t, refusal.Differs)
	left, err := f.Provider.Get(t.Context(), f.Migration)
	require.NoError(t, err)
	require.True(t, left.Equal(theirs))
	after, err := f.Provider.Restore(t.Context(), f.Migration, shadow, theirs, note, nil)
	require.NoError(t, err)
	require.Equal(t, flags.StageShadow, after.Stage)
	servesStage(t, app, f.Migration, zoe, flags.StageShadow)
}

func excludeStage(t *testing.T, f Fixture) {
	if f.Migration == "" {
		return
	}
	app := stager(t, f)
	before, err := f.Provider.Get(t.Context(), f.Migration)
	require.NoError(t, err)
	without := flags.Change{Exclude: &flags.Context{Kind: user, Key: zoe}}
	early := apply(t, f, f.Migration, without)
	require.False(t, early.On)
	live := apply(t, f, f.Migration, flags.Change{Stage: flags.StageLive})
	servesStage(t, app, f.Migration, "user-1", flags.StageLive)
	servesStage(t, app, f.Migration, zoe, flags.StageOff)
	_, err = f.Provider.Restore(t.Context(), f.Migration, before, live, note, nil)
	require.NoError(t, err)
	apply(t, f, f.Migration, flags.Change{Stage: flags.StageLive})
	servesStage(t, app, f.Migration, zoe, flags.StageLive)
	expected, err := f.Provider.Preview(t.Context(), f.Migration, without)
	require.NoError(t, err)
	state := apply(t, f, f.Migration, without)
	require.True(t, state.Equal(expected))
	require.Equal(t, flags.StageLive, state.Stage)
	require.Len(t, state.Exceptions, 1)
	require.NotContains(t, state.Summary+state.Exceptions[0], zoe)
	servesStage(t, app, f.Migration, zoe, flags.StageOff)
	servesStage(t, app, f.Migration, "user-1", flags.StageLive)
	ours := apply(t, f, f.Migration, flags.Change{Stage: flags.StageComplete})
	require.Len(t, ours.Exceptions, 1, "somebody is left out")
	servesStage(t, app, f.Migration, "user-1", flags.StageComplete)
	servesStage(t, app, f.Migration, zoe, flags.StageOff)
	after, err := f.Provider.Restore(t.Context(), f.Migration, stored(t, before), stored(t, ours), note, nil)
	require.NoError(t, err)
	require.JSONEq(t, string(before.Config), string(after.Config))
}

func stagesMix(t *testing.T, f Fixture) {
	refused(t, f, f.Furnished, flags.Change{Stage: flags.StageLive}, f.Furnished)
	if f.Migration != "" {
		refused(t, f, f.Migration, flags.Change{Percent: 10}, f.Migration)
		refused(t, f, f.Migration, flags.Change{Percent: 10, Targets: map[string][]string{user: {zoe}}}, f.Migration)
	}
}
