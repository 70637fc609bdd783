package ledger_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/ledger"
)

// TestAnEndedPlanForgetsWhomItsFlagsWereOffFor because nobody needs to know any more, and flags name people.
func TestAnEndedPlanForgetsWhomItsFlagsWereOffFor(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	presses := func(me ledger.Holder) {
		ids, err := l.Press(t.Context(), kill(me.FirstRun, "account", "a"), false)
		require.NoError(t, err)
		require.NoError(t, l.Found(t.Context(), ids[0], json.RawMessage(`{"on": true}`)))
		require.NoError(t, l.Killed(t.Context(), ids[0], json.RawMessage(`{"on": false}`)))
	}
	ends := func(me ledger.Holder, outcome string) {
		require.NoError(t, l.Audit(t.Context(), ledger.Event{Key: "end", Migration: me.Migration, FirstRun: me.FirstRun, Plan: "p", Event: outcome}))
		require.NoError(t, l.Close(t.Context(), "p", me, outcome, outcome != "failed"))
	}
	told := func() string {
		return one[string](t, pool, `select string_agg(actor || ' ' || context_kind || ' ' || context_key || coalesce(' ' || (found ->> 'on') || (state ->> 'on'), ''), ', ' order by id)
			from contraflow.flag_kill where done_at is not null`)
	}
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	presses(first)
	ends(first, "failed")
	require.Equal(t, "alice account acme truefalse", told(), "it is gone on with later")
	require.NoError(t, l.Claim(t.Context(), "p", "h", second, nobody))
	ends(second, "completed")
	require.Equal(t, "alice account ", told())
	presses(second)
	require.Equal(t, "alice account , alice account acme truefalse", told(), "over, and pressed again")
	again := ledger.Holder{Migration: "shop", FirstRun: "run-4"}
	require.NoError(t, l.Claim(t.Context(), "p", "h", again, nobody))
	ends(again, "rolled_back")
	require.Equal(t, "alice account , alice account ", told())
}
