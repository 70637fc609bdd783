package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWrongCallsSayHowItGoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"nonsense"}, `unknown command "nonsense"`},
		{[]string{"status"}, "ID is missing: call it as contraflow status ID"},
		{[]string{"approve", "x"}, "STEP is missing"},
		{[]string{"status", "a", "b"}, `status does not understand "b"`},
		{[]string{"status", "a", "--nope"}, "unknown flag: --nope"},
		{[]string{"reject", "a", "b"}, "--reason is missing"},
		{[]string{"throttle", "a"}, "--rows-per-second is missing"},
		{[]string{"throttle", "a", "--rows-per-second", "abc"}, `--rows-per-second is "abc": give a whole number`},
		{[]string{"start", "a", "--wait=maybe"}, `--wait is "maybe": give true or false`},
		{[]string{"throttle", "a", "--rows-per-second", "-1"}, "--rows-per-second is -1"},
		{[]string{"throttle", "a", "--rows-per-second", "2147483648"}, "--rows-per-second is 2147483648: give 0 for no cap, or up to 2147483647"},
		{[]string{"list", "--limit", "0"}, "--limit is 0"},
		{[]string{"start", "No Such"}, "neither a file"},
		{[]string{"start", "no-such.yaml"}, "no-such.yaml: no such file"},
	} {
		a := callAt(t, "127.0.0.1:1", c.args...)
		require.Equal(t, exitUsage, a.code, "%q", c.args)
		require.Contains(t, a.stderr, c.says)
		require.NotContains(t, a.stderr, "strconv")
		require.NotContains(t, strings.ReplaceAll(a.stderr, "contraflow --help", ""), "--help")
		require.Empty(t, a.stdout)

		a = callAt(t, "127.0.0.1:1", append(c.args, "--json")...)
		require.Equal(t, exitUsage, a.code, "%q", c.args)
		require.Empty(t, a.stderr)
		var f failure
		a.decode(t, &f)
		require.Contains(t, f.Error, c.says)
	}
}

func TestEveryCommandTeaches(t *testing.T) {
	t.Parallel()
	root := newRoot(&app{})
	for _, cmd := range root.Commands() {
		require.NotEmpty(t, cmd.Short, cmd.Name())
		if cmd.Name() != "version" {
			require.NotEmpty(t, cmd.Long, cmd.Name())
			require.NotEmpty(t, cmd.Example, cmd.Name())
		}
		a := callAt(t, "127.0.0.1:1", cmd.Name(), "--help")
		require.Zero(t, a.code)
		require.Contains(t, a.stdout, "Usage:")
	}
	a := callAt(t, "127.0.0.1:1")
	require.Zero(t, a.code)
	require.Contains(t, a.stdout, "Exit codes")
}

func TestAServerThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"status", "x"}, {"list"}, {"start", "x"}, {"approve", "x", "y"}, {"pause", "x"}, {"watch", "x"}} {
		a := callAt(t, "127.0.0.1:1", args...)
		require.Equal(t, exitError, a.code)
		require.Equal(t, "No Temporal server answers at 127.0.0.1:1. Set TEMPORAL_ADDRESS or --address to one that runs, or start one: temporal server start-dev\n", a.stderr)
	}
}

func TestAMigrationThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"status", "nobody"}, {"watch", "nobody"}, {"approve", "nobody", "y"}, {"resume", "nobody"}, {"throttle", "nobody", "--rows-per-second", "1"}} {
		a := call(t, args...)
		require.Equal(t, exitError, a.code)
		require.Contains(t, a.stderr, "no such migration")
		require.Contains(t, a.stderr, "contraflow list")
		require.NotContains(t, a.stderr, "rpc")
	}
}

func TestANamespaceThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"list"}, {"start", "x"}, {"status", "x"}} {
		a := call(t, append(args, "--namespace", "nowhere")...)
		require.Equal(t, exitError, a.code)
		require.Contains(t, a.stderr, "no namespace nowhere")
		require.Contains(t, a.stderr, "--namespace")
	}
}

func TestSettingsComeFromAProfile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "temporal.toml")
	require.NoError(t, os.WriteFile(file, []byte("[profile.there]\naddress = \""+server.Address()+"\"\n"), 0o600))
	var out, errs firstWrite
	out.seen, errs.seen = make(chan struct{}), make(chan struct{})
	code := run(t.Context(), []string{"list", "--profile", "there", "--json"}, &out, &errs, []string{"TEMPORAL_CONFIG_FILE=" + file})
	require.Zero(t, code, errs.text())
	require.Zero(t, callAlone(t, "list", "--address", server.Address()).code)
	require.Contains(t, callAlone(t, "list", "--profile", "nope").stderr, "nope")
}
