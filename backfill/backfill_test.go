package backfill_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/backfill"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) {
	if dsn := os.Getenv(childDSN); dsn != "" {
		runChild(dsn)
		return
	}
	pgtest.Main(m)
}

const (
	soon = time.Minute // costs nothing where all is well
	tick = 5 * time.Millisecond
)

// bundle is an engine on a database of its own.
type bundle struct {
	*backfill.Engine
	pgtest.Database
	pool *pgxpool.Pool
}

func setup(t *testing.T, sql ...string) bundle {
	t.Helper()
	db := pgtest.New(t)
	b := bundle{Database: db, pool: open(t, db.DSN)}
	b.Engine = backfill.New(b.pool)
	require.NoError(t, pg.EnsureSchema(t.Context(), b.pool))
	b.pool.Reset()
	for _, s := range sql {
		b.exec(t, s)
	}
	return b
}

// open sets no lock timeout: a test that means to run into one makes its own, and no other may, however slow the machine.
func open(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	return openWith(t, dsn, settings())
}

func settings() pg.Settings {
	return pg.Settings{ApplicationName: "contraflow backfill", StatementTimeout: 20 * time.Second, MaxConns: 8}
}

func openWith(t *testing.T, dsn string, s pg.Settings) *pgxpool.Pool {
	t.Helper()
	pool, err := pg.Open(t.Context(), dsn, s)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

func (b bundle) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := b.pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err, sql)
}

func scalar[T any](t *testing.T, b bundle, sql string, args ...any) T {
	t.Helper()
	rows, err := b.pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[T])
	require.NoError(t, err, sql)
	return v
}

// run prepares, walks every lane and finishes.
func (b bundle) run(t *testing.T, spec backfill.Spec) backfill.Proof {
	t.Helper()
	run, err := b.Prepare(t.Context(), spec)
	require.NoError(t, err)
	for _, lane := range run.Lanes {
		done, err := b.RunLane(t.Context(), spec, lane.Lane, backfill.LaneOptions{})
		require.NoError(t, err)
		require.True(t, done.Done)
	}
	proof, err := b.Finish(t.Context(), spec, backfill.LaneOptions{})
	require.NoError(t, err)
	return proof
}

// counting is a spec that cannot be applied twice to a row without showing.
func counting(table string) backfill.Spec {
	return backfill.Spec{Plan: "plan", Step: "fill", Table: table, ChunkRows: 10,
		Set: []backfill.Assignment{{Column: "n", Expr: "n + 1"}}}
}

// numbers is a table whose n tells how often a row was changed.
func numbers(rows int) string {
	return fmt.Sprintf(`create table numbers (id bigint primary key, n integer not null default 0, label text);
		insert into numbers (id) select 3 * i from generate_series(1, %d) i; analyze numbers`, rows)
}

// started runs a lane in the background until its first report.
func (b bundle) started(t *testing.T, ctx context.Context, spec backfill.Spec, o backfill.LaneOptions) <-chan error {
	t.Helper()
	first, ended := make(chan struct{}), make(chan error, 1)
	report, once := o.Report, false
	o.Report = func(p backfill.Progress) {
		if report != nil {
			report(p)
		}
		if !once {
			once = true
			close(first)
		}
	}
	go func() {
		_, err := b.RunLane(ctx, spec, 0, o)
		ended <- err
	}()
	select {
	case <-first:
	case err := <-ended:
		select {
		case <-first:
			ended <- err // it was quick
		default:
			require.FailNow(t, "the lane ended before its first report", "%v", err)
		}
	case <-time.After(soon):
		require.FailNow(t, "the lane reported nothing")
	}
	return ended
}

// impatient makes the engine one whose statements wait for locks no longer than 200 ms.
func (b *bundle) impatient(t *testing.T, o ...backfill.Option) {
	t.Helper()
	s := settings()
	s.LockTimeout = 200 * time.Millisecond
	b.Engine = backfill.New(openWith(t, b.DSN, s), o...)
}

// waiting tells how many of the engine's sessions wait for a lock.
func (b bundle) waiting(t *testing.T) int {
	t.Helper()
	return scalar[int](t, b, `select count(*)::int from pg_stat_activity where wait_event_type = 'Lock'
		and application_name = 'contraflow backfill' and datname = current_database()`)
}

// reports collects what a lane reports.
type reports struct {
	mu  sync.Mutex
	all []backfill.Progress
}

func (r *reports) add(p backfill.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, p)
}

// held tells whether the lane has ever held for a reason after so many rows.
func (r *reports) held(reason string, rows int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.all, func(p backfill.Progress) bool { return p.Holding == reason && p.Rows == rows })
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(soon):
		require.FailNow(t, "nothing came")
		panic("unreachable")
	}
}
