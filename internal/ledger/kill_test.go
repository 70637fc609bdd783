package ledger_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/ledger"
)

var production = ledger.Scope{Project: "shop", Environment: "production"}

func uses(t *testing.T, l *ledger.Ledger, plan string, me ledger.Holder, keys ...string) {
	t.Helper()
	for _, key := range keys {
		require.NoError(t, l.UseFlag(t.Context(), plan, me, production, key))
	}
}

func TestASwitchIsFoundByTheMigrationsID(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	find := func(id string) ledger.Switch {
		s, err := l.FindSwitch(t.Context(), id)
		require.NoError(t, err)
		return s
	}
	_, err := l.FindSwitch(t.Context(), "shop")
	require.ErrorIs(t, err, ledger.ErrUnknown)

	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	require.Equal(t, ledger.Switch{Plan: "p", PlanHash: "h", FirstRun: "run-1", Running: true}, find("shop"), "nothing moved yet")
	uses(t, l, "p", first, "write-new", "a-read-new", "gone")
	uses(t, l, "p", first, "write-new")
	uses(t, l, "q", third, "another")
	require.NoError(t, l.FlagRetired(t.Context(), production, "gone"))
	want := ledger.Switch{Plan: "p", PlanHash: "h", FirstRun: "run-1", Running: true, Used: []ledger.Used{
		{Key: "write-new", Scope: production}, {Key: "a-read-new", Scope: production}, {Key: "gone", Scope: production, Retired: true}}}
	require.Equal(t, want, find("shop"), "in the order of their first use")

	require.NoError(t, l.Close(t.Context(), "p", first, "completed", true))
	want.Running = false
	require.Equal(t, want, find("shop"), "also when it is over")
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, nobody))
	want.FirstRun, want.Running = "run-2", true
	for i := range want.Used {
		want.Used[i].Earlier = true
	}
	require.Equal(t, want, find("shop"), "who runs the plan now is told, though it has moved nothing yet")

	require.NoError(t, l.Claim(t.Context(), "later", "h2", first, nobody))
	require.Equal(t, ledger.Switch{Plan: "later", PlanHash: "h2", FirstRun: "run-1", Running: true}, find("shop"), "an id that was used again means its latest plan")
	require.Equal(t, "q", find("other").Plan, "a plan that others claimed since is found by who moved its flags")

	_, err = pool.Exec(t.Context(), "drop schema contraflow cascade")
	require.NoError(t, err)
	_, err = l.FindSwitch(t.Context(), "shop")
	require.ErrorIs(t, err, ledger.ErrUnknown, "contraflow has never worked there")
}

func TestWhatARollbackHasPutBackIsNotTheMigrationsAnyMore(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	uses(t, l, "p", first, "write-new", "read-new")
	_, err := pool.Exec(t.Context(), `insert into contraflow.flag_record (plan, step, flag_key, before, ours)
		select 'p', 'turn', unnest(array['write-new', 'read-new']), '{}', '[]'`)
	require.NoError(t, err)
	used := func() (keys []string) {
		s, err := l.FindSwitch(t.Context(), "shop")
		require.NoError(t, err)
		for _, u := range s.Used {
			keys = append(keys, u.Key)
		}
		return keys
	}
	require.NoError(t, l.Undoing(t.Context(), "p", first))
	require.Equal(t, []string{"write-new", "read-new"}, used())
	_, err = pool.Exec(t.Context(), `delete from contraflow.flag_record where flag_key = 'read-new'`)
	require.NoError(t, err)
	require.Equal(t, []string{"write-new"}, used())
	require.NoError(t, l.Close(t.Context(), "p", first, "failed", false))
	require.Equal(t, []string{"write-new"}, used(), "also where it gave up")
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, nobody))
	uses(t, l, "p", second, "read-new")
	require.Equal(t, []string{"write-new", "read-new"}, used())
}

func kill(firstRun, kind string, keys ...string) (kills []ledger.Kill) {
	for _, key := range keys {
		k := ledger.Kill{Plan: "p", Migration: "shop", FirstRun: firstRun, Key: key, ContextKind: kind, Actor: "alice", Reason: "broken \x00"}
		if kind != "" {
			k.ContextKey = "acme"
		}
		kills = append(kills, k)
	}
	return kills
}

func TestPressesAreSeenByTheirRunInTheirOrder(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	ids, err := l.Press(t.Context(), kill("run-1", "", "b", "a"), false)
	require.NoError(t, err)
	require.Len(t, ids, 2)
	others, err := l.Press(t.Context(), kill("run-2", "account", "c"), false)
	require.NoError(t, err)
	require.NoError(t, l.Killed(t.Context(), ids[1], json.RawMessage(`{"on": false}`)))
	none, err := l.Press(t.Context(), nil, false)
	require.NoError(t, err)
	require.Empty(t, none)

	kills, err := l.Kills(t.Context(), "run-1", 0)
	require.NoError(t, err)
	require.Len(t, kills, 2)
	require.Equal(t, []string{"b", "a"}, []string{kills[0].Key, kills[1].Key})
	require.Equal(t, ids, []int64{kills[0].ID, kills[1].ID})
	require.Nil(t, kills[0].Done)
	require.NotNil(t, kills[1].Done)
	require.JSONEq(t, `{"on": false}`, string(kills[1].State))
	require.True(t, kills[0].Everybody())
	require.Positive(t, kills[0].Age)
	require.Equal(t, "broken \uFFFD", kills[0].Reason)

	kills, err = l.Kills(t.Context(), "run-1", ids[0])
	require.NoError(t, err)
	require.Len(t, kills, 1)
	kills, err = l.Kills(t.Context(), "run-2", 0)
	require.NoError(t, err)
	require.Equal(t, others[0], kills[0].ID)
	require.Equal(t, "account acme", kills[0].ContextKind+" "+kills[0].ContextKey)
	require.False(t, kills[0].Everybody())
}
