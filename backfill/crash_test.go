package backfill_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/postgres"
	"github.com/contraflow/contraflow/internal/pg"
)

const childDSN = "BACKFILL_TEST_CHILD_DSN"

// crashing is the backfill of the tests below: small steady chunks, so that kills find it everywhere.
func crashing() backfill.Spec {
	spec := counting("numbers")
	spec.Lanes, spec.ChunkRows, spec.ChunkTime = 2, 50, time.Millisecond
	return spec
}

// runChild is the process that gets killed.
func runChild(dsn string) {
	ctx := context.Background()
	pool, err := pg.Open(ctx, dsn, pg.Settings{ApplicationName: "contraflow backfill"})
	if err == nil {
		err = walk(ctx, backfill.New(pool))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func walk(ctx context.Context, e *backfill.Engine) error {
	run, err := e.Prepare(ctx, crashing())
	if err != nil {
		return err
	}
	ended := make(chan error, len(run.Lanes))
	for _, lane := range run.Lanes {
		go func() {
			_, err := e.RunLane(ctx, crashing(), lane.Lane, backfill.LaneOptions{})
			ended <- err
		}()
	}
	for range run.Lanes {
		if laneErr := <-ended; laneErr != nil {
			err = laneErr
		}
	}
	return err
}

func TestKilledProcessesChangeEveryRowOnce(t *testing.T) {
	t.Parallel()
	const rows, kills = 60_000, 15
	b := setup(t, numbers(rows))
	_, err := b.Prepare(t.Context(), crashing())
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	changed := func() int64 {
		o, err := b.Overview(t.Context(), crashing())
		require.NoError(t, err)
		return o.Rows
	}
	finished := func() {
		b.run(t, crashing())
		require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
	}
	midway := 0
	for tries := 0; midway < kills; tries++ {
		require.Less(t, tries, 10*kills, "the kills came too late to prove anything")
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDSN+"="+b.DSN)
		require.NoError(t, child.Start())
		// Kill at a random distance behind the last kill, plus some random time, so as to hit every part of a chunk.
		target := changed() + random.Int64N(rows/kills)
		require.Eventually(t, func() bool { return changed() >= min(target, rows) }, soon, time.Millisecond)
		<-time.After(time.Duration(random.IntN(3000)) * time.Microsecond)
		require.NoError(t, child.Process.Kill())
		_ = child.Wait() // "signal: killed"
		switch n := changed(); {
		case n == rows: // that was too late: see that all is well, and begin anew
			finished()
			require.NoError(t, b.Reset(t.Context(), "plan", "fill"))
			b.exec(t, "update numbers set n = 0")
			_, err := b.Prepare(t.Context(), crashing())
			require.NoError(t, err)
		case n > 0:
			midway++
		}
	}
	finished()
}

func TestTerminatedConnectionsChangeEveryRowOnce(t *testing.T) {
	t.Parallel()
	const rows, cuts = 40_000, 15
	b := setup(t, numbers(rows))
	random := rand.New(rand.NewPCG(3, 4))
	admin := b.Connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hung, ended := 0, make(chan error, 1)
	go func() {
		for {
			err := walk(ctx, b.Engine)
			if err == nil || ctx.Err() != nil || backfill.Permanent(err) {
				ended <- err
				return
			}
			hung++
		}
	}()
	for cut := range cuts {
		target := random.Int64N(rows/cuts) + int64(cut*rows/cuts)
		require.Eventually(t, func() bool {
			var n int64
			err := admin.QueryRow(ctx, "select coalesce(sum(rows), 0)::bigint from contraflow.backfill_lane").Scan(&n)
			return err == nil && n >= target
		}, soon, time.Millisecond)
		_, err := admin.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'contraflow backfill' and datname = current_database()")
		require.NoError(t, err)
	}
	require.NoError(t, receive(t, ended))
	require.Positive(t, hung)
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func TestACrashedServerLosesRowsAndCursorTogether(t *testing.T) {
	t.Parallel()
	const rows, crashes = 40_000, 4
	// A lazy WAL writer, so that a crash really loses what was committed asynchronously.
	cluster, err := postgres.Start(t.Context(), postgres.Options{Settings: map[string]string{"wal_writer_delay": "10s", "fsync": "off"}})
	require.NoError(t, err)
	t.Cleanup(cluster.Stop)
	b := bundle{pool: open(t, cluster.DSN(postgres.Superuser, "postgres"))}
	b.Engine = backfill.New(b.pool)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	b.exec(t, numbers(rows))
	spec := crashing()
	spec.Lanes = 1
	_, err = b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	lost := 0
	for crash := range crashes {
		victim, witness := connect(t, cluster), connect(t, cluster)
		// Postgres drops every connection then, and recovers.
		crashed := sync.OnceValue(func() error { return syscall.Kill(int(victim.PgConn().PID()), syscall.SIGKILL) })
		seen := int64(0)
		_, err := b.RunLane(t.Context(), spec, 0, backfill.LaneOptions{Report: func(p backfill.Progress) {
			if seen = p.Rows; seen >= int64((crash+1)*rows/(crashes+4)) {
				require.NoError(t, crashed())
			}
		}})
		require.Error(t, err)
		require.False(t, backfill.Permanent(err), "%v", err)
		require.Eventually(t, func() bool { return witness.Ping(t.Context()) != nil }, soon, tick)
		var counted, changed int64
		require.Eventually(t, func() bool {
			b.pool.Reset()
			return b.pool.QueryRow(t.Context(), `select (select sum(rows)::bigint from contraflow.backfill_lane),
				count(*) from numbers where n = 1`).Scan(&counted, &changed) == nil
		}, soon, tick)
		require.Equal(t, counted, changed)
		if changed < seen {
			lost++
		}
	}
	require.Positive(t, lost, "no crash lost anything, so nothing was proved")
	b.run(t, spec)
	require.EqualValues(t, rows, scalar[int64](t, b, "select count(*) from numbers where n = 1"))
}

func connect(t *testing.T, c *postgres.Cluster) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.DSN(postgres.Superuser, "postgres"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
