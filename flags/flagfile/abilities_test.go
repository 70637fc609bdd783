package flagfile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
)

func TestCreateMakesAFileThatTheSDKReads(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	require.NoError(t, b.provider.Create(t.Context(), "one", flags.NewFlag{Name: "One", Description: "the first", Tags: []string{"a"}}))
	require.NoError(t, b.provider.Create(t.Context(), "staged", flags.NewFlag{Migration: true, ContextKind: "account"}))
	one := content(t, b.path)["flags"]["one"].(map[string]any)
	require.Equal(t, "the first", one["description"])
	value, err := application(t, b.path).BoolVariation("one", ldcontext.New("anybody"), true)
	require.NoError(t, err)
	require.False(t, value)
	_, err = b.provider.Apply(t.Context(), "staged", flags.Change{Stage: flags.StageLive}, "", nil)
	require.NoError(t, err)
	rollout := content(t, b.path)["flags"]["staged"].(map[string]any)["fallthrough"].(map[string]any)["rollout"].(map[string]any)
	require.Equal(t, "account", rollout["contextKind"], "cohorts stay by accounts")
	for _, key := range []string{"", "two words", "a/b", "NUL\x00"} {
		require.ErrorIs(t, b.provider.Create(t.Context(), key, flags.NewFlag{}), flags.ErrInvalid)
	}
}

func TestARehearsedCreationLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	rehearse := func() error {
		return b.provider.RehearseCreate(t.Context(), "one", flags.NewFlag{}, []flags.Change{{Percent: 10}, {Percent: 100}})
	}
	require.NoError(t, rehearse())
	require.NoFileExists(t, b.path)
	require.NoFileExists(t, b.path+".tmp")
	require.NoError(t, os.Mkdir(b.path+".tmp", 0o700)) // lets nobody make the file, not even root
	require.ErrorContains(t, rehearse(), "its folder must be writable")

	b = setup(t, furnished)
	require.NoError(t, rehearse())
	require.JSONEq(t, furnished, string(mustRead(t, b.path)))
	err := b.provider.RehearseCreate(t.Context(), "simple", flags.NewFlag{}, nil)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `stands in "flagValues"`)
	require.ErrorIs(t, b.provider.RehearseCreate(t.Context(), "two words", flags.NewFlag{}, nil), flags.ErrInvalid)
}

func TestCreateLeavesAFileThatSDKsRead(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	err := b.provider.Create(t.Context(), "simple", flags.NewFlag{})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `stands in "flagValues"`)
	require.JSONEq(t, furnished, string(mustRead(t, b.path)))
}

func TestOtherRulesKeepWhatOnlyTheFileKnows(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	standing := content(t, b.path)["flags"]["furnished"].(map[string]any)["rules"].([]any)[0]
	before, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	ours, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 50, Segments: []string{"staff"}}, "", nil)
	require.NoError(t, err)
	rules := content(t, b.path)["flags"]["furnished"].(map[string]any)["rules"].([]any)
	require.Len(t, rules, 2)
	require.Equal(t, standing, rules[1], "with its id")
	require.Equal(t, "rule-id-kept", rules[1].(map[string]any)["id"])
	_, err = b.provider.Restore(t.Context(), "furnished", before, ours, "", nil)
	require.NoError(t, err)
	require.Equal(t, []any{standing}, content(t, b.path)["flags"]["furnished"].(map[string]any)["rules"])

	staged, err := b.provider.Apply(t.Context(), "staged", flags.Change{Stage: flags.StageLive}, "", nil)
	require.NoError(t, err)
	require.Equal(t, flags.StageLive, staged.Stage)
	require.Equal(t, map[string]any{"checkRatio": 2.0}, content(t, b.path)["flags"]["staged"].(map[string]any)["migration"])
	require.Equal(t, map[string]any{"key": "staff", "version": 3.0, "included": []any{"ann@staff", "bob@staff"}},
		content(t, b.path)["segments"]["staff"])
}

func TestARuleThatGrowsStaysTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	spoilFile(t, b.path, func(file, _ map[string]any) {
		file["segments"].(map[string]any)["beta"] = map[string]any{"key": "beta", "version": 1}
	})
	_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 50, Segments: []string{"staff"}}, "", nil)
	require.NoError(t, err)
	edit(t, b.path, "furnished", func(flag map[string]any) { flag["rules"].([]any)[0].(map[string]any)["id"] = "ours" })
	before, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	start := content(t, b.path)["flags"]["furnished"].(map[string]any)["rules"]
	ours, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 50, Segments: []string{"staff", "beta"}}, "", nil)
	require.NoError(t, err)
	grown := content(t, b.path)["flags"]["furnished"].(map[string]any)["rules"].([]any)
	require.Len(t, grown, 2)
	require.Equal(t, "ours", grown[0].(map[string]any)["id"])
	require.Equal(t, []any{"beta", "staff"}, grown[0].(map[string]any)["clauses"].([]any)[0].(map[string]any)["values"])
	_, err = b.provider.Restore(t.Context(), "furnished", before, ours, "", nil)
	require.NoError(t, err)
	require.Equal(t, start, content(t, b.path)["flags"]["furnished"].(map[string]any)["rules"])
}

func TestAContextThatNoJSONHoldsIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	for _, change := range []flags.Change{
		{Targets: map[string][]string{"user": {"S3CRET\xff"}}}, {Exclude: &flags.Context{Kind: "user", Key: "S3CRET\xff"}},
	} {
		_, err := b.provider.Apply(t.Context(), "furnished", change, "", nil)
		require.ErrorIs(t, err, flags.ErrInvalid)
		require.NotContains(t, err.Error(), "S3CRET")
	}
	require.JSONEq(t, furnished, string(mustRead(t, b.path)))
}

func TestRehearsalFindsAFolderThatCantBeWritten(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	change := flags.Change{Percent: 50}
	require.NoError(t, b.provider.Rehearse(t.Context(), "furnished", change))
	require.JSONEq(t, furnished, string(mustRead(t, b.path)))
	require.NoFileExists(t, b.path+".tmp")

	// A folder in its place lets nobody make the file, not even root.
	for _, beside := range []string{".lock", ".tmp"} {
		b := setup(t, furnished)
		require.NoError(t, os.Mkdir(b.path+beside, 0o700))
		err := b.provider.Rehearse(t.Context(), "furnished", change)
		require.ErrorContains(t, err, "its folder must be writable")
		require.ErrorContains(t, err, b.path)
		require.DirExists(t, b.path+beside)
	}
	nowhere, err := flagfile.New(filepath.Join(t.TempDir(), "no-such-folder", "flags.json"))
	require.NoError(t, err)
	require.ErrorIs(t, nowhere.Rehearse(t.Context(), "furnished", change), flags.ErrNotFound)
	require.Error(t, nowhere.Create(t.Context(), "furnished", flags.NewFlag{}))
}
