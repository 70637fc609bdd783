package tests

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

func (b *bundle) terminate() {
	b.t.Helper()
	require.NoError(b.t, b.answered("the end", func(ctx context.Context) error {
		err := b.temporal.TerminateWorkflow(ctx, b.plan.Name, "", "for the test")
		if _, over := errors.AsType[*serviceerror.NotFound](err); over { // the answer to the call before was lost
			return nil
		}
		return err
	}))
}

func TestTerminatedInTheBackfillAndStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, options{slow: true})
	b.stopAt(0.4)
	b.migrate()
	b.stopped()
	b.terminate()
	before := b.share()

	run := b.migrate()
	s := b.reaches("it goes on", func(s signals.Status) bool { return contains(step(s, "fill").Detail, "on from the checkpoints") })
	require.GreaterOrEqual(t, b.share(), before)
	b.stopAt(1)
	require.Contains(t, step(s, "expand").Detail, "version 2")
	require.NotContains(t, step(s, "expand").Detail, "applied")
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
	b.keep("rerun", run.GetRunID())
}

func TestTerminatedInARolloutAndStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, options{edit: func(p *plan.Plan) { p.Steps[1].Flag.Soak = 10 * short }})
	applied := b.watchFlags()
	b.migrate()
	b.reaches("the second stage soaks, or did", func(s signals.Status) bool { return step(s, "write-new").Percent >= 50 })
	b.terminate()
	b.migrate()
	b.approve("cutover")
	b.asks("contract")
	require.Equal(t, stages, applied(), "no stage is taken back or repeated")
	b.approve("contract")
	b.completes()
}

// The second run undoes what the first one did: it knows from the target database what was before.
func TestTerminatedStartedAgainAndRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t, options{slow: true})
	b.stopAt(0.4)
	b.migrate()
	b.stopped()
	b.terminate()
	b.migrate()
	b.stopAt(1)
	b.asks("cutover")
	b.say(signals.Rollback, signals.Request{By: "dave"})
	requireUndone(t, undone[1:], b.rollsBack())
	b.requireRolledBack()
}

// Behind the point of no return the old column is gone: the next run begins there.
func TestTerminatedBehindThePointOfNoReturnAndStartedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t, options{})
	b.migrate()
	b.approve("cutover")
	b.asks("contract")
	b.flagsAt.down()
	b.approve("contract")
	b.waits("retire", "MayRetire")
	b.terminate()
	b.flagsAt.up()
	require.Equal(t, "3", b.version())

	b.migrate()
	require.NoError(t, b.ended(nil))
	b.requireMigrated()
	require.Equal(t, "by an earlier run", step(b.answers(), "drop-old").Detail)
}
