package tests

import (
	"net"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/temporalserver"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// mortal is a Temporal server that can be killed.
func mortal(t *testing.T, o temporalserver.Options) *temporalserver.Server {
	t.Helper()
	s, err := temporalserver.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

func TestTemporalKilledAndStartedAgain(t *testing.T) {
	t.Parallel()
	server := mortal(t, temporalserver.Options{})
	b := setup(t, options{at: server, slow: true, edit: func(p *plan.Plan) {
		p.Steps[1].Flag.Soak = 5 * short
	}})
	kill := func() {
		server.Kill()
		require.NoError(t, server.Restart(t.Context()))
	}
	b.stopAt(0.3)
	b.migrate()
	b.reaches("a stage soaks, or did", func(s signals.Status) bool { return step(s, "write-new").Percent >= 10 })
	kill()
	b.stopped()
	kill()
	b.stopAt(0.7)
	b.stopped()
	server.Kill()
	b.killWorker()
	require.NoError(t, server.Restart(t.Context()))
	b.stopAt(1)
	b.startWorker()
	b.asks("cutover")
	kill()
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
}

// Temporal's memory is lost altogether; the worker lives on with what it was doing. All that counts is in the target database.
func TestTemporalWipedAndThePlanStartedAgain(t *testing.T) {
	t.Parallel()
	server := mortal(t, temporalserver.Options{})
	b := setup(t, options{at: server, slow: true})
	b.stopAt(0.3)
	b.migrate()
	b.stopped()
	server.Kill() // it keeps its port
	again := mortal(t, temporalserver.Options{Port: portOf(t, server), DBFile: filepath.Join(b.folder, "new.db")})
	require.Equal(t, server.Address(), again.Address())
	_, ok := b.status()
	require.False(t, ok, "the migration is unknown")

	b.migrate()
	b.reaches("it goes on", func(s signals.Status) bool { return contains(step(s, "fill").Detail, "on from the checkpoints") })
	b.stopAt(1)
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
}

func portOf(t *testing.T, s *temporalserver.Server) int {
	t.Helper()
	_, text, err := net.SplitHostPort(s.Address())
	require.NoError(t, err)
	port, err := strconv.Atoi(text)
	require.NoError(t, err)
	return port
}
