package flagfile_test

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/launchdarkly/go-server-sdk/v7/interfaces"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// A person with an editor takes no lock.
func TestAnEditInTheMomentOfTheChangeIsNotLost(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	still := func(context.Context, flags.State) error {
		edit(t, b.path, "furnished", func(flag map[string]any) { flag["salt"] = "by hand" })
		return nil
	}
	_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", still)
	require.ErrorIs(t, err, flags.ErrConflict)
	require.False(t, flags.Permanent(err), "the next attempt decides again")
	flag := content(t, b.path)["flags"]["furnished"].(map[string]any)
	require.Equal(t, "by hand", flag["salt"])
	require.Equal(t, 8.0, flag["version"])
	require.NoFileExists(t, b.path+".tmp")
	_, err = b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	require.Equal(t, "by hand", content(t, b.path)["flags"]["furnished"].(map[string]any)["salt"])
}

// What is refused as illegible is what the SDK refuses: an application would keep its last good data for ever.
func TestTheSDKReadsNoFileThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(file, flags map[string]any){
		"a flag twice":         func(file, flags map[string]any) { file["flagValues"] = map[string]any{"furnished": true} },
		"another flag broken":  func(file, flags map[string]any) { flags["text"] = map[string]any{"on": "yes"} },
		"a flag of one number": func(file, flags map[string]any) { flags["text"] = 3 },
		"a segment broken":     func(file, flags map[string]any) { file["segments"] = map[string]any{"staff": true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, furnished)
			app := application(t, b.path)
			spoilFile(t, b.path, spoil)
			require.Eventually(t, func() bool {
				return app.GetDataSourceStatusProvider().GetStatus().State == interfaces.DataSourceStateInterrupted
			}, 30*time.Second, time.Millisecond)
			_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
			require.ErrorIs(t, err, flags.ErrInvalid)
			require.ErrorContains(t, err, b.path)
		})
	}
}

func TestALockOutlivesNoProcess(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	lock, err := os.OpenFile(b.path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	// The lock is of the open file, which this process hands over.
	holder := exec.CommandContext(t.Context(), "sleep", "3600")
	holder.ExtraFiles = []*os.File{lock}
	require.NoError(t, holder.Start())
	require.NoError(t, lock.Close())
	done := make(chan error, 1)
	go func() {
		_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
		done <- err
	}()
	within, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.provider.Apply(within, "furnished", flags.Change{Percent: 100}, "", nil)
	require.ErrorIs(t, err, context.DeadlineExceeded, "it is held")
	require.NoError(t, holder.Process.Kill())
	_ = holder.Wait()
	require.NoError(t, <-done)
}

func TestALockFileThatIsTidiedAwayLocksNobodyElseIn(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	still := func(ctx context.Context, _ flags.State) error { // holding the lock
		require.NoError(t, os.Remove(b.path+".lock"))
		_, err := b.provider.Apply(ctx, "furnished", flags.Change{Percent: 7}, "", nil)
		require.NoError(t, err, "a lock on another file")
		return nil
	}
	_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", still)
	require.ErrorIs(t, err, flags.ErrConflict, "the other's change stays")
	state, err := b.provider.Get(t.Context(), "furnished")
	require.NoError(t, err)
	require.InDelta(t, 7, state.Percent, 0)
}

func TestTheFileKeepsItsOwner(t *testing.T) {
	t.Parallel()
	b := setup(t, furnished)
	owner := os.Geteuid()
	if owner == 0 {
		owner = 4711 // root alone may give files away, and would keep them for itself
		require.NoError(t, os.Chown(b.path, owner, owner))
	}
	_, err := b.provider.Apply(t.Context(), "furnished", flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	info, err := os.Stat(b.path)
	require.NoError(t, err)
	require.EqualValues(t, owner, info.Sys().(*syscall.Stat_t).Uid)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
