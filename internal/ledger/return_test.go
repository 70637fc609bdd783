package ledger_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestBehindThePointOfNoReturnASwitchWantsForce(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.ErrorIs(t, l.PastReturn(t.Context(), "p", second, 0), ledger.ErrSuperseded)
	require.NoError(t, l.PastReturn(t.Context(), "p", first, 0))
	const mark = "select past_return_at::text from contraflow.migration"
	at := one[string](t, pool, mark)
	require.NoError(t, l.PastReturn(t.Context(), "p", first, 0))
	require.Equal(t, at, one[string](t, pool, mark), "the first mark stays")

	_, err := l.Press(t.Context(), kill("run-1", "", "a"), false)
	require.ErrorIs(t, err, ledger.ErrPastReturn)
	require.Zero(t, one[int](t, pool, "select count(*) from contraflow.flag_kill"))
	ids, err := l.Press(t.Context(), kill("run-1", "", "a"), true)
	require.NoError(t, err)
	require.ErrorIs(t, l.PastReturn(t.Context(), "p", first, 0), ledger.ErrKilled, "another attempt at the step")
	alone, err := l.Press(t.Context(), kill("run-1", "account", "a"), true)
	require.NoError(t, err)
	require.ErrorIs(t, l.PastReturn(t.Context(), "p", first, ids[0]), ledger.ErrKilled, "one context needs the old shape as well")
	require.NoError(t, l.PastReturn(t.Context(), "p", first, alone[0]))

	again := func(outcome string, me ledger.Holder, hash string) bool {
		_, err := pool.Exec(t.Context(), "update contraflow.migration set past_return_at = now()")
		require.NoError(t, err)
		require.NoError(t, l.Close(t.Context(), "p", first, outcome, outcome != "failed"))
		require.NoError(t, l.Claim(t.Context(), "p", hash, me, nobody))
		marked := one[bool](t, pool, "select past_return_at is not null from contraflow.migration")
		require.NoError(t, l.Claim(t.Context(), "p", "h", first, me))
		return marked
	}
	require.True(t, again("failed", second, "h2"), "the plan is mended and goes on where nothing is undone")
	require.True(t, again("completed", second, "h"), "the same plan once more")
	require.False(t, again("completed", second, "h2"), "another plan of that name")
	require.False(t, again("rolled_back", second, "h"))
}

// TestOfAPressAndAPointOfNoReturnOneWins because otherwise columns were dropped under an application that has just been switched
// back to them.
func TestOfAPressAndAPointOfNoReturnOneWins(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pgtest.New(t).DSN, pg.Settings{MaxConns: 8})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	l := ledger.New(pool)
	for round := range 50 {
		empty(t, pool)
		require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
		var pressed, passed error
		var both sync.WaitGroup
		force := round%5 == 4
		both.Go(func() { _, pressed = l.Press(context.WithoutCancel(t.Context()), kill("run-1", "", "a"), force) })
		both.Go(func() { passed = l.PastReturn(context.WithoutCancel(t.Context()), "p", first, 0) })
		both.Wait()
		if force {
			require.NoError(t, pressed)
			require.True(t, passed == nil || errors.Is(passed, ledger.ErrKilled), "%v", passed)
			continue
		}
		require.NotEqual(t, pressed == nil, passed == nil, "pressed: %v, passed: %v", pressed, passed)
		require.True(t, errors.Is(pressed, ledger.ErrPastReturn) || errors.Is(passed, ledger.ErrKilled))
	}
}

// TestAPressThatMayComeTooLateIsNotJudgedInHaste because who passes the point of no return at this moment may be frozen there.
func TestAPressThatMayComeTooLateIsNotJudgedInHaste(t *testing.T) {
	t.Parallel()
	slow, pool := setup(t)
	hasty, err := pg.Open(t.Context(), pool.Config().ConnString(), pg.Settings{LockTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(hasty.Close)
	l := ledger.New(hasty)
	require.NoError(t, slow.Claim(t.Context(), "p", "h", first, nobody))
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "update contraflow.migration set past_return_at = now()"); err != nil {
			return err
		}
		_, err := l.Press(t.Context(), kill("run-1", "", "a"), false)
		require.ErrorIs(t, err, ledger.ErrPassing)
		_, err = l.Press(t.Context(), kill("run-1", "", "a"), true)
		return err // who forces it needs no judgement
	})
	require.NoError(t, err)
	require.Equal(t, 1, one[int](t, pool, "select count(*)::int from contraflow.flag_kill"))
	_, err = l.Press(t.Context(), kill("run-1", "", "a"), false)
	require.ErrorIs(t, err, ledger.ErrPastReturn)
}

// TestAMarkIsMadeInOneRoundTrip because a press would have to wait for a worker that is frozen between two.
func TestAMarkIsMadeInOneRoundTrip(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	proxy := pgproxy.Start(t, pool.Config().ConnString())
	proxy.OnStatement(func(s pgproxy.Statement) {
		if strings.Contains(s.SQL, "contraflow.migration") {
			proxy.CutAt(s.N, pgproxy.Cut{When: pgproxy.Unanswered})
		}
	})
	worker, err := pg.Open(t.Context(), proxy.DSN(), pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(worker.Close)
	require.Error(t, ledger.New(worker).PastReturn(t.Context(), "p", first, 0), "the worker is lost behind its first statement")
	require.True(t, one[bool](t, pool, "select past_return_at is not null from contraflow.migration"))
}

// TestAPressThatCommitsLaterHasTheHigherID because runs ask for presses behind the last one that they were told of.
func TestAPressThatCommitsLaterHasTheHigherID(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pgtest.New(t).DSN, pg.Settings{MaxConns: 8})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	l := ledger.New(pool)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	_, err = pool.Exec(t.Context(), `create function slow() returns trigger language plpgsql as $$ begin
			if new.flag_key = 'slow' then perform pg_advisory_xact_lock_shared(4711); end if; return new; end $$;
		create trigger slow before insert on contraflow.flag_kill for each row execute function slow()`)
	require.NoError(t, err)
	waiting := func(least int) func() bool {
		return func() bool {
			return one[int](t, pool, "select count(*)::int from pg_locks join pg_stat_activity using (pid) where datname = current_database() and locktype = 'advisory' and not granted") >= least
		}
	}
	var both sync.WaitGroup
	var slow, fast error
	var seen []ledger.Kill
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "select pg_advisory_xact_lock(4711)"); err != nil {
			return err
		}
		both.Go(func() { _, slow = l.Press(context.WithoutCancel(t.Context()), kill("run-1", "", "slow"), false) })
		require.Eventually(t, waiting(1), time.Minute, time.Millisecond)
		done := make(chan struct{})
		both.Go(func() {
			defer close(done)
			if _, fast = l.Press(context.WithoutCancel(t.Context()), kill("run-1", "account", "fast"), false); fast == nil {
				seen, fast = l.Kills(context.WithoutCancel(t.Context()), "run-1", 0)
			}
		})
		require.Eventually(t, func() bool {
			select {
			case <-done:
				return true
			default:
				return waiting(2)()
			}
		}, time.Minute, time.Millisecond)
		return nil
	})
	both.Wait()
	require.NoError(t, errors.Join(err, slow, fast))
	require.Len(t, seen, 2, "the earlier one is there when the later one is")
}

// TestAMarkThatWaitsHoldsNoPressUp because a schema change holds the plan's row for as long as it takes.
func TestAMarkThatWaitsHoldsNoPressUp(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	var passed error
	var marking sync.WaitGroup
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if err := ledger.Hold(t.Context(), tx.Conn(), "p", first, false); err != nil {
			return err
		}
		marking.Go(func() { passed = l.PastReturn(context.WithoutCancel(t.Context()), "p", first, 0) })
		require.Eventually(t, func() bool {
			return one[int](t, pool, "select count(*)::int from pg_locks join pg_stat_activity using (pid) where datname = current_database() and not granted") > 0
		}, time.Minute, time.Millisecond)
		_, err := l.Press(t.Context(), kill("run-1", "", "a"), false)
		return err
	}))
	marking.Wait()
	require.ErrorIs(t, passed, ledger.ErrKilled)
}

func TestBehindTheBeginningOfARollbackNothingIsMarked(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.NoError(t, l.Undoing(t.Context(), "p", first))
	require.ErrorIs(t, l.PastReturn(t.Context(), "p", first, 0), ledger.ErrSuperseded)
	require.False(t, one[bool](t, pool, "select past_return_at is not null from contraflow.migration"))
	_, err := l.Press(t.Context(), kill("run-1", "", "a"), false)
	require.NoError(t, err, "the switch works in a rollback")
}

func TestARunThatBeginsAfreshLosesTheMarkOfTheOneBefore(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	marked := func() bool { return one[bool](t, pool, "select past_return_at is not null from contraflow.migration") }
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.NoError(t, l.PastReturn(t.Context(), "p", first, 0))
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, first))
	require.NoError(t, l.Afresh(t.Context(), "p", first))
	require.True(t, marked(), "the plan is another's by now")
	require.NoError(t, l.Afresh(t.Context(), "p", second))
	require.False(t, marked())
	require.NoError(t, l.PastReturn(t.Context(), "p", second, 0))
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, nobody))
	require.NoError(t, l.Afresh(t.Context(), "p", second))
	require.True(t, marked(), "an attempt that was frozen since the run began")
}

func empty(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	_, err := pool.Exec(t.Context(), "truncate contraflow.migration, contraflow.flag_kill")
	require.NoError(t, err)
}
