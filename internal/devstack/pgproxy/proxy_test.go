package pgproxy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// bundle is a proxied connection and one that leads to the server itself.
type bundle struct {
	*pgproxy.Proxy
	conn, direct *pgx.Conn
}

func setup(t *testing.T) bundle {
	t.Helper()
	db := pgtest.New(t)
	db.Exec(t, "create table numbers (n int)")
	p := pgproxy.Start(t, db.DSN)
	conn, err := pgx.Connect(t.Context(), p.DSN())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return bundle{Proxy: p, conn: conn, direct: db.Connect(t)}
}

// batch of three statements that are one transaction.
func (b bundle) batch(t *testing.T, second string) error {
	t.Helper()
	var batch pgx.Batch
	batch.Queue("insert into numbers values ($1)", 1)
	batch.Queue(second)
	batch.Queue("insert into numbers values ($1)", 3)
	return b.conn.SendBatch(t.Context(), &batch).Close()
}

func (b bundle) numbers(t *testing.T) (n int) {
	t.Helper()
	require.NoError(t, b.direct.QueryRow(t.Context(), "select count(*) from numbers").Scan(&n))
	return n
}

const insertTwo = "insert into numbers values (2)"

func TestACutHitsOneStatement(t *testing.T) {
	t.Parallel()
	for when, rows := range map[pgproxy.When]int{pgproxy.Before: 0, pgproxy.Unanswered: 3, pgproxy.Orphaned: 3} {
		for _, hard := range []bool{false, true} {
			for n := 1; n <= 3; n++ {
				t.Run(fmt.Sprintf("%s statement %d, hard %t", when, n, hard), func(t *testing.T) {
					t.Parallel()
					b := setup(t)
					backend := b.conn.PgConn().PID()
					b.CutAt(n, pgproxy.Cut{When: when, Hard: hard})
					err := b.batch(t, insertTwo)
					require.Error(t, err)
					require.True(t, b.conn.IsClosed())
					_, answered := err.(*pgconn.PgError)
					require.False(t, answered)
					// The server has seen the end of it once its backend is gone.
					require.Eventually(t, func() bool {
						var there bool
						err := b.direct.QueryRow(t.Context(), "select exists (select from pg_stat_activity where pid = $1)", backend).Scan(&there)
						return err == nil && !there
					}, 30*time.Second, 5*time.Millisecond)
					require.Equal(t, rows, b.numbers(t))
				})
			}
		}
	}
}

func TestAnUnansweredStatementHasEndedWhenTheClientHearsOfTheCut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.CutAt(1, pgproxy.Cut{When: pgproxy.Unanswered})
	require.Error(t, b.batch(t, "select pg_sleep(0.3)"))
	require.Equal(t, 2, b.numbers(t))
}

func TestAnOrphanedStatementRunsOnWhenTheClientIsBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	// The server cannot end before this lock is given back.
	_, err := b.direct.Exec(t.Context(), "select pg_advisory_lock(1)")
	require.NoError(t, err)
	b.CutAt(1, pgproxy.Cut{When: pgproxy.Orphaned})
	require.Error(t, b.batch(t, "select pg_advisory_xact_lock(1)"))
	require.Zero(t, b.numbers(t))
	_, err = b.direct.Exec(t.Context(), "select pg_advisory_unlock(1)")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return b.numbers(t) == 2 }, 30*time.Second, 5*time.Millisecond)
}

func TestTheTestActsBetweenTwoStatementsOfABatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen []pgproxy.Statement
	var locked []bool
	b.OnStatement(func(s pgproxy.Statement) {
		seen = append(seen, s)
		var free bool
		if err := b.direct.QueryRow(t.Context(), "select pg_try_advisory_xact_lock(1)").Scan(&free); err != nil {
			t.Error(err)
		}
		locked = append(locked, !free)
	})
	require.NoError(t, b.batch(t, "select pg_advisory_xact_lock(1)"))
	b.OnStatement(nil)
	const insert = "insert into numbers values ($1)"
	require.Equal(t, []pgproxy.Statement{{N: 1, SQL: insert}, {N: 2, SQL: "select pg_advisory_xact_lock(1)"}, {N: 3, SQL: insert}}, seen)
	require.Equal(t, []bool{false, false, true}, locked)
	require.Equal(t, 3, b.Statements())
	require.Equal(t, 2, b.numbers(t))
}

func TestWhatTheServerSaysArrivesUnchanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := b.batch(t, "select 1 / 0")
	require.ErrorContains(t, err, "division by zero")
	require.NoError(t, b.batch(t, insertTwo))
	_, err = b.conn.Exec(t.Context(), "begin; delete from numbers where n = 3; commit", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	_, err = b.conn.Exec(t.Context(), "", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)

	copied, err := b.conn.CopyFrom(t.Context(), pgx.Identifier{"numbers"}, []string{"n"}, pgx.CopyFromRows([][]any{{7}, {8}}))
	require.NoError(t, err)
	require.EqualValues(t, 2, copied)
	rows, err := b.conn.Query(t.Context(), "select n from numbers order by n")
	require.NoError(t, err)
	numbers, err := pgx.CollectRows(rows, pgx.RowTo[int])
	require.NoError(t, err)
	require.Equal(t, []int{1, 2, 7, 8}, numbers)
}

func TestACancellationReachesTheServer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.OnStatement(func(pgproxy.Statement) { cancel() })
	_, err := b.conn.Exec(ctx, "select pg_sleep(60)")
	require.ErrorIs(t, err, context.Canceled)
	require.Eventually(t, func() bool {
		// Again and again: one that arrives before the statement does cancels nothing.
		require.NoError(t, b.conn.PgConn().CancelRequest(t.Context()))
		var asleep int
		err := b.direct.QueryRow(t.Context(), "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'").Scan(&asleep)
		return err == nil && asleep == 0
	}, 30*time.Second, 5*time.Millisecond)
}

func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	p := pgproxy.Start(t, "postgres://nobody@127.0.0.1:1/none?sslmode=disable")
	_, err := pgx.Connect(t.Context(), p.DSN())
	require.Error(t, err)
	p.Close()
	p.Close()
}
