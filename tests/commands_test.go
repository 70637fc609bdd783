package tests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
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

// unanswered is how our command line says that Temporal, or a worker that it has to ask, did not answer in time. What goes on without
// a worker, as a decision that is queued, is none of this.
var unanswered = regexp.MustCompile(`No Temporal server answers|now: no worker answers|no worker answers for migration`)

// contraflow calls our command line and expects an exit code. It returns all that was said. It calls again where nobody answered: a
// machine that does much else may stall either of them, and each test that calls has both running.
func (b *bundle) contraflow(code int, args ...string) (said string) {
	b.t.Helper()
	var got int
	b.eventually(fmt.Sprintf("somebody answers contraflow %v", args), func() bool {
		c := b.command(binaries.cli, args...)
		got = c.code()
		said = c.stdout.String() + c.stderr.String()
		return !unanswered.MatchString(said)
	})
	require.Equal(b.t, code, got, "contraflow %v: %s", args, said)
	return said
}

// statusSays polls what `contraflow status` says, until it holds all these parts, and returns it. A call that fails is made again: a
// machine that does much else may keep Temporal from answering in time.
func (b *bundle) statusSays(what string, parts ...string) (said string) {
	b.t.Helper()
	b.eventually(what, func() bool {
		c := b.command(binaries.cli, "status", b.plan.Name)
		code := c.code()
		said = c.stdout.String()
		return code == 0 && contains(said, parts...)
	})
	return said
}

// temporalCLI calls Temporal's own command line, which must succeed. It returns what it printed. Unlike ours, this command does not
// ask again when Temporal says that the workflow is busy, so we do; a call of which the answer alone was lost has been heard already.
func (b *bundle) temporalCLI(args ...string) (printed string) {
	b.t.Helper()
	again := false
	b.eventually(fmt.Sprintf("temporal %v", args), func() bool {
		c := b.temporalCommand(args...)
		heard := c.code() == 0 || again && contains(c.stderr.String(), "already")
		printed, again = c.stdout.String(), true
		return heard
	})
	return printed
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
