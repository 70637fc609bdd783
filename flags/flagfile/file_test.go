package flagfile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagfile"
)

func content(t *testing.T, path string) map[string]map[string]any {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	var out map[string]map[string]any
	require.NoError(t, json.Unmarshal(raw, &out))
	return out
}

func TestEverythingElseInTheFileStays(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	before := content(t, b.path)
	state, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	require.Equal(t, 8, state.Version)
	after := content(t, b.path)
	flag := before["flags"]["furnished"].(map[string]any)
	flag["version"], flag["fallthrough"] = 8.0, map[string]any{"variation": 0.0}
	require.Equal(t, before, after, "only the version and the default rule are others")

	require.NoError(t, b.provider.Archive(t.Context(), "furnished", ""))
	archived := content(t, b.path)
	require.Equal(t, after["flags"]["furnished"], archived["archivedFlags"]["furnished"])
	require.NotContains(t, archived["flags"], "furnished")
	require.Equal(t, after["segments"], archived["segments"])
}

func TestRestoredTargetsAreServed(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	before, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	edit(t, b.path, "furnished", func(flag map[string]any) {
		flag["targets"], flag["contextTargets"], flag["rules"] = []any{}, []any{}, []any{}
	})
	ours, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	after, err := b.provider.Restore(t.Context(), "furnished", before, ours, "", nil)
	require.NoError(t, err)
	require.True(t, after.Equal(before))
	_, err = b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	value, err := application(t, b.path).BoolVariation("furnished", ldcontext.New("user-1"), true)
	require.NoError(t, err)
	require.False(t, value, "the target of kind user counts beside the one of kind device")
}

func TestManyWritersLoseNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	const writers = 8
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			// A provider each, as in as many processes: only the lock on the file is shared.
			provider, err := flagfile.New(b.path)
			if err != nil {
				t.Error(err)
				return
			}
			key := fmt.Sprintf("flag-%d", i)
			if err := provider.Create(t.Context(), key, flags.NewFlag{}); err != nil {
				t.Error(err)
			}
			for _, percent := range []int{10, 50, 100} {
				if _, err := provider.Apply(t.Context(), key, flags.Change{Percent: percent}, "", nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for i := range writers {
		state, err := b.provider.Get(t.Context(), fmt.Sprintf("flag-%d", i))
		require.NoError(t, err)
		require.Equal(t, "on: 100 % true", state.Summary)
		require.Equal(t, 4, state.Version)
	}
}

func TestBadFilesAreNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, says string }{
		"missing":        {"", "there is no flag file"},
		"broken":         {`{"flags": {`, "is not a JSON object"},
		"null":           {`null`, "is not a JSON object"},
		"a list":         {`[1]`, "is not a JSON object"},
		"flags a list":   {`{"flags": []}`, `"flags" is not a JSON object`},
		"null flags":     {`{"flags": null}`, "add it, or correct its key"},
		"flag values":    {`{"flagValues": {"wanted": true}}`, `make it a full flag in "flags"`},
		"flag no object": {`{"flags": {"wanted": 3}}`, "not of the SDK's model"},
		"another broken": {`{"flags": {"wanted": {"variations": [true, false]}, "other": {"on": "yes"}}}`, `flag "other"`},
		"twice":          {`{"flags": {"wanted": {"variations": [true, false]}}, "flagValues": {"wanted": true}}`, "no SDK reads a file with that"},
		"segment broken": {`{"flags": {"wanted": {"variations": [true, false]}}, "segments": {"staff": 3}}`, `segment "staff"`},
		"flag misshapen": {`{"flags": {"wanted": {"variations": [true, false], "on": "yes"}}}`, "field on has the wrong type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, c.content)
			_, err := b.provider.Apply(t.Context(), "wanted", flags.Change{Percent: 1}, "", nil)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, b.path)
			raw, err := os.ReadFile(b.path)
			if c.content == "" {
				require.ErrorIs(t, err, os.ErrNotExist)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.content, string(raw))
		})
	}
}

func TestLeftoverOfACrashIsOverwritten(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	require.NoError(t, os.WriteFile(b.path+".tmp", []byte("half a fi"), 0o400))
	require.NoError(t, os.Chmod(b.path+".tmp", 0o600))
	require.NoError(t, os.Link(b.path, b.path+".link"))
	require.NoError(t, b.provider.Rehearse(t.Context(), "furnished", flags.Change{Percent: 0}))
	require.NoFileExists(t, b.path+".link")
	_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 0}, "", nil)
	require.NoError(t, err)
	require.NoFileExists(t, b.path+".tmp")
	info, err := os.Stat(b.path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the mode stays")
}

func TestSymbolicLinkIsFollowed(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	link := filepath.Join(t.TempDir(), "link.json")
	require.NoError(t, os.Symlink(b.path, link))
	provider, err := flagfile.New(link)
	require.NoError(t, err)
	state, err := provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink)
	seen, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	require.Equal(t, state, seen)
}

func TestAnotherWriterIsWaitedForWithinTheContext(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	lock, err := os.OpenFile(b.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.provider.Apply(ctx, "furnished", flags.Change{Percent: 100}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, b.path)
	require.JSONEq(t, furnished, string(mustRead(t, b.path)))

	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_UN))
	_, err = b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
}

func TestNothingIsWrittenTooLate(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	before, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	off, err := b.provider.Preview(t.Context(), "furnished", flags.Change{Percent: 0})
	require.NoError(t, err)
	for want, ctx := range map[error]context.Context{
		context.Canceled: cancelled, context.DeadlineExceeded: frozen{t.Context()},
	} {
		_, err := b.provider.Apply(ctx, "furnished", flags.Change{Percent: 100}, "", nil)
		require.ErrorIs(t, err, want)
		_, err = b.provider.Restore(ctx, "furnished", off, before, "", nil)
		require.ErrorIs(t, err, want)
		require.ErrorIs(t, b.provider.Archive(ctx, "furnished", ""), want)
		require.ErrorIs(t, b.provider.Create(ctx, "another", flags.NewFlag{}), want)
		require.JSONEq(t, furnished, string(mustRead(t, b.path)))
		require.NoFileExists(t, b.path+".tmp")
	}
}

// frozen is the context of a process that was stopped and goes on before its timers do.
type frozen struct{ context.Context }

func (frozen) Deadline() (time.Time, bool) { return time.Now().Add(-time.Second), true }

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return raw
}

func TestStatusOfAFileIsUnknown(t *testing.T) {
	t.Parallel()
	status, err := setup(t, furnished).provider.Status(t.Context(), "furnished")
	require.NoError(t, err)
	require.Equal(t, flags.Status{Activity: flags.Unknown}, status)
}

// One change by root, such as a kill switch with sudo, must not shut out the user whom the folder belongs to.
func TestWhoeverMayReplaceTheFileMayTakeItsLock(t *testing.T) {
	t.Parallel()
	for folder, want := range map[os.FileMode]os.FileMode{0o700: 0o600, 0o755: 0o600, 0o775: 0o660, 0o777: 0o666} {
		b := setup(t, furnished)
		require.NoError(t, os.Chmod(filepath.Dir(b.path), folder))
		_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 0}, "", nil)
		require.NoError(t, err)
		lock, err := os.Stat(b.path + ".lock")
		require.NoError(t, err)
		require.Equal(t, want, lock.Mode().Perm(), "in a folder of mode %v", folder)
		above, err := os.Stat(filepath.Dir(b.path))
		require.NoError(t, err)
		require.Equal(t, above.Sys().(*syscall.Stat_t).Uid, lock.Sys().(*syscall.Stat_t).Uid)
	}
}

func TestAFileOfAnotherFormatIsRefusedForGood(t *testing.T) {
	t.Parallel()
	for title, text := range map[string]string{
		"YAML": "flags:\n  wanted:\n    key: wanted\n", "a byte order mark": "\ufeff" + furnished, "a list": "[]",
	} {
		b := setup(t, text)
		_, err := b.provider.Preview(t.Context(), "furnished", flags.Change{Percent: 1})
		require.ErrorIs(t, err, flags.ErrInvalid, title)
		require.ErrorContains(t, err, "JSON alone", title)
		require.Equal(t, text, string(mustRead(t, b.path)))
	}
	b := setup(t, `{"flags": {`)
	_, err := b.provider.Get(t.Context(), "furnished")
	require.Error(t, err)
	require.NotErrorIs(t, err, flags.ErrInvalid, "half an edit is awaited")
}
