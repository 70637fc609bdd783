package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

var shopScope = ledger.Scope{Project: "shop", Environment: "production"}

// ends brings a run of a plan to its end, as the activity Finish does.
func ends(t *testing.T, l *ledger.Ledger, plan string, me ledger.Holder, outcome string) {
	t.Helper()
	require.NoError(t, l.Audit(t.Context(), ledger.Event{Key: outcome, Migration: me.Migration, FirstRun: me.FirstRun, Plan: plan, Event: outcome}))
	require.NoError(t, l.Close(t.Context(), plan, me, outcome, outcome != "failed"))
}

// unretired are the flags as "plan key outcome".
func unretired(t *testing.T, l *ledger.Ledger) []string {
	t.Helper()
	all, err := l.Unretired(t.Context())
	require.NoError(t, err)
	out := []string{}
	for _, f := range all {
		require.Equal(t, f.Outcome == "", f.Ended == nil)
		require.Equal(t, f.Outcome != "", f.Holder == ledger.Holder{})
		out = append(out, f.Plan+" "+f.Key+" "+f.Outcome)
	}
	return out
}

func TestAFlagIsListedUntilItIsRetired(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	me := first
	me.Owner = "customers-team"
	require.NoError(t, l.Claim(t.Context(), "p", "h", me, nobody))
	for range 2 {
		require.NoError(t, l.UseFlag(t.Context(), "p", me, shopScope, "write-new"))
	}
	require.Equal(t, []string{"p write-new "}, unretired(t, l), "while it runs")
	held, err := l.Unretired(t.Context())
	require.NoError(t, err)
	require.Equal(t, ledger.Holder{Migration: me.Migration, FirstRun: me.FirstRun, Home: me.Home}, held[0].Holder)
	ends(t, l, "p", me, "completed")
	all, err := l.Unretired(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, []string{"customers-team", "completed", "shop", "run-1"}, []string{all[0].Owner, all[0].Outcome, all[0].Migration, all[0].FirstRun})
	require.Equal(t, shopScope, all[0].Scope)

	require.NoError(t, l.FlagRetired(t.Context(), ledger.Scope{Project: "shop", Environment: "staging"}, "write-new"))
	require.Len(t, unretired(t, l), 1, "another flag of that name")
	for range 2 {
		require.NoError(t, l.FlagRetired(t.Context(), shopScope, "write-new"))
		require.Empty(t, unretired(t, l))
	}
	require.NoError(t, l.UseFlag(t.Context(), "p", second, shopScope, "write-new"))
	require.Equal(t, 1, one[int](t, pool, "select count(*)::int from contraflow.flag_use"))
	require.Len(t, unretired(t, l), 1, "in use again")
}

func TestOnePlanRetiresWhatAnotherHasMoved(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	for _, plan := range []string{"expand", "contract"} {
		require.NoError(t, l.Claim(t.Context(), plan, "h", first, nobody))
		require.NoError(t, l.UseFlag(t.Context(), plan, first, shopScope, "write-new"))
		ends(t, l, plan, first, "completed")
	}
	require.Equal(t, []string{"expand write-new completed", "contract write-new completed"}, unretired(t, l))
	require.NoError(t, l.FlagRetired(t.Context(), shopScope, "write-new"))
	require.Empty(t, unretired(t, l))
}

func TestAFlagBelongsToTheRunThatMovedIt(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.NoError(t, l.UseFlag(t.Context(), "p", first, shopScope, "write-new"))
	ends(t, l, "p", first, "completed")
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, nobody))
	require.Equal(t, []string{"p write-new "}, unretired(t, l), "the plan is being run")
	ends(t, l, "p", second, "rolled_back")
	require.Equal(t, []string{"p write-new completed"}, unretired(t, l), "the second run never came to the flag")

	require.NoError(t, l.Claim(t.Context(), "p", "h", third, nobody))
	require.NoError(t, l.UseFlag(t.Context(), "p", third, shopScope, "write-new"))
	ends(t, l, "p", third, "failed")
	require.Equal(t, []string{"p write-new failed"}, unretired(t, l))
}

// The first run moved the flag and was cut off behind the point of no return, the second went on behind the flag.
func TestAFlagOfARunThatWasCutOffEndsWithThePlan(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.NoError(t, l.UseFlag(t.Context(), "p", first, shopScope, "write-new"))
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, first))
	require.Equal(t, []string{"p write-new "}, unretired(t, l), "the plan is being run")
	ends(t, l, "p", second, "completed")
	require.Equal(t, []string{"p write-new completed"}, unretired(t, l))
}

func TestNoFlagIsLeftWhereContraflowNeverWorked(t *testing.T) {
	t.Parallel()
	pool, err := pg.Open(t.Context(), pgtest.New(t).DSN, pg.Settings{})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.Empty(t, unretired(t, ledger.New(pool)))
}
