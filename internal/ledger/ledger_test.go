package ledger_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

var (
	first  = ledger.Holder{Migration: "shop", FirstRun: "run-1"}
	second = ledger.Holder{Migration: "shop", FirstRun: "run-2"}
	third  = ledger.Holder{Migration: "other", FirstRun: "run-3"}
	nobody = ledger.Holder{}
)

func setup(t *testing.T) (*ledger.Ledger, *pgxpool.Pool) {
	t.Helper()
	pool, err := pg.Open(t.Context(), pgtest.New(t).DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.NoError(t, pg.EnsureSchema(t.Context(), pool))
	return ledger.New(pool), pool
}

func one[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (value T) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&value))
	return value
}

func holder(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	return one[string](t, pool, "select migration || ' ' || first_run || ' ' || plan_hash || coalesce(' ' || outcome, '') from contraflow.migration where plan = 'p'")
}

func requireHeld(t *testing.T, err error, by ledger.Holder) {
	t.Helper()
	var held *ledger.HeldError
	require.ErrorAs(t, err, &held)
	require.Equal(t, by, held.Holder)
}

func TestAClaimIsTakenOnceAndPassesOnOnlyWhenItMay(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	claim := func(me, gone ledger.Holder) error { return l.Claim(t.Context(), "p", "h-"+me.FirstRun, me, gone) }

	require.NoError(t, claim(first, nobody), "a free plan")
	since := one[time.Time](t, pool, "select claimed_at from contraflow.migration")
	require.NoError(t, claim(first, nobody), "a second attempt")
	require.Equal(t, since, one[time.Time](t, pool, "select claimed_at from contraflow.migration"))

	requireHeld(t, claim(second, nobody), first)
	requireHeld(t, claim(second, third), first) // the one named as gone isn't the holder
	requireHeld(t, claim(second, ledger.Holder{Migration: first.Migration, FirstRun: "run-0"}), first)
	require.Equal(t, "shop run-1 h-run-1", holder(t, pool), "a refused claim changes nothing")

	require.NoError(t, claim(second, first), "the holder is gone")
	require.Equal(t, "shop run-2 h-run-2", holder(t, pool))
	requireHeld(t, claim(third, first), second) // too late: somebody else took over

	require.NoError(t, l.Close(t.Context(), "p", second, "completed", true))
	require.Equal(t, "shop run-2 h-run-2 completed", holder(t, pool))
	require.NoError(t, claim(third, nobody), "an ended one")
	require.Equal(t, "other run-3 h-run-3", holder(t, pool))

	require.NoError(t, l.Claim(t.Context(), "another plan", "h", first, nobody), "plans don't exclude each other")
}

func TestOfManyClaimsOneWins(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	const claimants = 12
	errs := make([]error, claimants)
	var all sync.WaitGroup
	for i := range claimants {
		all.Go(func() {
			errs[i] = l.Claim(t.Context(), "p", "h", ledger.Holder{Migration: "m", FirstRun: string(rune('a' + i))}, nobody)
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		var held *ledger.HeldError
		if err == nil {
			won++
		} else {
			require.True(t, errors.As(err, &held), "%v", err)
		}
	}
	require.Equal(t, 1, won)
}

// left counts what a migration leaves behind besides its claim and its audit.
func left(t *testing.T, pool *pgxpool.Pool, plan string) int {
	t.Helper()
	return one[int](t, pool, `select (select count(*) from contraflow.flag_record where plan = $1) + (select count(*) from contraflow.ddl_version where plan = $1)
		+ (select count(*) from contraflow.backfill_lane where plan = $1) + (select count(*) from contraflow.backfill_control where plan = $1)`, plan)
}

func TestCloseForgetsOnlyWhatItShould(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	for _, plan := range []string{"p", "q"} {
		require.NoError(t, l.Claim(t.Context(), plan, "h", first, nobody))
		recorded(t, l, plan, "s", "f")
		for _, sql := range []string{
			"insert into contraflow.ddl_version (schema_name, version, plan) values ($1, 1, $1)",
			"insert into contraflow.backfill_lane (plan, step, lane, hash, total, target) values ($1, 's', 0, 'h', 1, 't')",
			"insert into contraflow.backfill_control (plan, step) values ($1, 's')",
		} {
			_, err := pool.Exec(t.Context(), sql, plan)
			require.NoError(t, err)
		}
	}
	require.NoError(t, l.Close(t.Context(), "p", second, "completed", true))
	require.Equal(t, 4, left(t, pool, "p"), "another's claim is not ours to close")
	require.Equal(t, "shop run-1 h", holder(t, pool))

	require.NoError(t, l.Close(t.Context(), "p", first, "failed", false))
	require.Equal(t, 4, left(t, pool, "p"), "a failed migration is gone on with later")
	require.Equal(t, "shop run-1 h failed", holder(t, pool))
	require.NoError(t, l.Close(t.Context(), "p", first, "completed", true))
	require.Equal(t, 4, left(t, pool, "p"), "an ended claim is closed already")

	require.NoError(t, l.Claim(t.Context(), "p", "h", second, nobody))
	require.NoError(t, l.Close(t.Context(), "p", second, "rolledBack", true))
	require.NoError(t, l.Close(t.Context(), "p", second, "rolledBack", true), "a second attempt")
	require.Zero(t, left(t, pool, "p"))
	require.Equal(t, 4, left(t, pool, "q"), "other plans keep theirs")
	require.Equal(t, "shop run-2 h rolledBack", holder(t, pool))
}

func TestAnEventIsWrittenOnce(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := ledger.Event{Key: "approve/1", At: at, Migration: "shop", FirstRun: "run-1", Plan: "p", PlanHash: "h", Step: "s", Event: "approve", Actor: "alice", Detail: "fine"}
	other := e
	other.FirstRun = "run-2"
	again := e
	again.Detail = "told otherwise"
	require.NoError(t, l.Audit(t.Context(), e, other, e))
	require.NoError(t, l.Audit(t.Context(), again))
	require.NoError(t, l.Audit(t.Context()), "nothing to write")
	require.Equal(t, 2, one[int](t, pool, "select count(*) from contraflow.audit"))
	require.Equal(t, "alice fine", one[string](t, pool, "select actor || ' ' || detail from contraflow.audit where run_id = 'run-1'"))
	require.True(t, at.Equal(one[time.Time](t, pool, "select at from contraflow.audit where run_id = 'run-1'")))
}

func TestTextsOfPeopleAreStoredWhateverTheyHold(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.NoError(t, l.Audit(t.Context(), ledger.Event{Key: "k\x00", FirstRun: "r", Event: "approve", Actor: "a\x00b", Detail: "broken \xff and NUL \x00"}))
	require.Equal(t, "a\uFFFDb: broken \uFFFD and NUL \uFFFD", one[string](t, pool, "select actor || ': ' || detail from contraflow.audit"))
}

func TestARollbackIsOfOneRun(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	undoing := func() bool { return one[bool](t, pool, "select undoing from contraflow.migration") }
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.NoError(t, l.Undoing(t.Context(), "p", second))
	require.False(t, undoing(), "it isn't theirs")
	require.NoError(t, l.Undoing(t.Context(), "p", first))
	require.True(t, undoing())
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.True(t, undoing(), "the same run")
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, first))
	require.False(t, undoing(), "the next one begins afresh")
}

func TestAPlanIsHeldUntilItPassesOnOrIsRolledBack(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	held := func(undoing bool) error {
		return pool.AcquireFunc(t.Context(), func(conn *pgxpool.Conn) error { return ledger.Hold(t.Context(), conn.Conn(), "p", first, undoing) })
	}
	require.ErrorIs(t, held(true), ledger.ErrSuperseded, "nobody holds it")
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.NoError(t, held(false))
	require.NoError(t, l.Undoing(t.Context(), "p", first))
	require.ErrorIs(t, held(false), ledger.ErrSuperseded)
	require.NoError(t, held(true))
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, first))
	require.ErrorIs(t, held(true), ledger.ErrSuperseded)
}

func TestFlagsArchivedByARunThatWasCutOff(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	happens := func(run, plan, event, detail string) {
		require.NoError(t, l.Audit(t.Context(), ledger.Event{Key: event + detail, FirstRun: run, Plan: plan, Event: event, Detail: detail}))
	}
	archived := func() []string {
		keys, err := l.Archived(t.Context(), "p")
		require.NoError(t, err)
		return keys
	}
	happens("run-1", "p", "archiving flag", "f")
	happens("run-1", "q", "archiving flag", "g")
	require.Equal(t, []string{"f"}, archived())
	happens("run-1", "p", "failed", "")
	happens("run-2", "q", "completed", "")
	require.Equal(t, []string{"f"}, archived())
	happens("run-3", "p", "completed", "")
	require.Empty(t, archived(), "that was another time")
	happens("run-4", "p", "archiving flag", "h")
	require.Equal(t, []string{"h"}, archived())

	_, err := pool.Exec(t.Context(), "drop schema contraflow cascade")
	require.NoError(t, err)
	require.Empty(t, archived())
}
