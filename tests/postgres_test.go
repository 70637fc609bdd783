package tests

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// fragile is a cluster that can be crashed. Its WAL is written late, so that a crash really loses what was committed asynchronously.
func fragile(t *testing.T) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context(), postgres.Options{Settings: map[string]string{"wal_writer_delay": "10s", "fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(c.Stop)
	return c
}

func TestPostgresCrashesInTheBackfill(t *testing.T) {
	t.Parallel()
	cluster := fragile(t)
	b := setup(t, options{own: cluster, slow: true, edit: func(p *plan.Plan) {
		p.Guard.Checks[1].Interval = 200 * short // or the guard might pause: that is the next test
	}})
	b.stopAt(0.3)
	b.migrate()
	for _, next := range []float64{0.6, 1} {
		b.stopped()
		cluster.Crash()
		require.NoError(t, cluster.Restart(t.Context()))
		b.stopAt(next)
	}
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
}

func TestPostgresDownForLongerPausesAndAsks(t *testing.T) {
	t.Parallel()
	cluster := fragile(t)
	b := setup(t, options{own: cluster, slow: true})
	b.stopAt(0.3)
	b.migrate()
	b.stopped()
	cluster.Crash()
	s := b.reaches("the guard asks", func(s signals.Status) bool { return s.State == signals.Paused })
	require.Contains(t, s.Needs, `"new writes carry the new columns" could not be measured`)
	b.waits("fill", "BackfillLane", "paused by guard")
	require.NoError(t, cluster.Restart(t.Context()))
	b.stopAt(1)
	b.contraflow(0, "resume", b.plan.Name)
	b.approve("cutover")
	b.approve("contract")
	require.Equal(t, b.rows, b.completes().Rows)
}

func TestPostgresDownAtTheStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	cluster := fragile(t)
	b := setup(t, options{own: cluster})
	cluster.Crash()
	b.migrate()
	said := b.statusSays("the status tells what it waits for", "waits", "the target database", "it can't be reached")
	require.NotContains(t, said, cluster.Password)
	b.crashWorker()
	require.NoError(t, cluster.Restart(t.Context()))
	b.approve("cutover")
	b.approve("contract")
	b.completes()
}
