package tests

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
)

// command is a program that a person would call.
type command struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
}

func (b *bundle) command(path string, args ...string) *command {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 2*limit)
	b.t.Cleanup(cancel)
	c := &command{t: b.t, cmd: exec.CommandContext(ctx, path, args...)}
	// Its own profiles are for other servers. The last is for those commands that read the target database.
	c.cmd.Env = []string{"HOME=" + b.folder, "TEMPORAL_ADDRESS=" + b.address, "SHOP_DSN=" + b.dsn}
	c.cmd.Dir, c.cmd.Stdout, c.cmd.Stderr = b.folder, &c.stdout, &c.stderr
	require.NoError(b.t, c.cmd.Start())
	return c
}

// code waits until it ends.
func (c *command) code() int {
	c.t.Helper()
	err := c.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(c.t, err)
	}
	return c.cmd.ProcessState.ExitCode()
}

// contraflow calls our command line and expects an exit code. It returns all that was said.
func (b *bundle) contraflow(code int, args ...string) string {
	b.t.Helper()
	c := b.command(binaries.cli, args...)
	got := c.code()
	said := c.stdout.String() + c.stderr.String()
	require.Equal(b.t, code, got, "contraflow %v: %s", args, said)
	return said
}

// statusSays polls what `contraflow status` says, until it holds all these parts. A call that fails is made again: a machine that does
// much else may keep Temporal from answering in time.
func (b *bundle) statusSays(what string, parts ...string) {
	b.t.Helper()
	b.eventually(what, func() bool {
		c := b.command(binaries.cli, "status", b.plan.Name)
		return c.code() == 0 && contains(c.stdout.String(), parts...)
	})
}

// temporalCLI calls Temporal's own command line, which must succeed. It returns what it printed.
func (b *bundle) temporalCLI(args ...string) string {
	b.t.Helper()
	c := b.temporalCommand(args...)
	require.Zero(b.t, c.code(), "temporal %v: %s", args, &c.stderr)
	return c.stdout.String()
}

func (b *bundle) temporalCommand(args ...string) *command {
	b.t.Helper()
	path, err := temporalserver.Binary()
	require.NoError(b.t, err)
	return b.command(path, append(args, "--address", b.address)...)
}

// planFile is the plan as the worker has it.
func (b *bundle) planFile() string { return filepath.Join(b.plans(), b.plan.Name, "plan.json") }

// contains tells whether a text has all these parts, wherever its lines are broken.
func contains(text string, all ...string) bool {
	text = strings.Join(strings.Fields(text), " ")
	for _, part := range all {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
