package ledger_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPressKeepsWhatItFound(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	ids, err := l.Press(t.Context(), kill("run-1", "", "a", "b"), false)
	require.NoError(t, err)
	require.NoError(t, l.Found(t.Context(), ids[0], json.RawMessage(`{"on": true}`)))
	require.NoError(t, l.Killed(t.Context(), ids[0], json.RawMessage(`{"on": false}`)))
	pressed, err := l.Pressed(t.Context(), "p")
	require.NoError(t, err)
	kills, err := l.Kills(t.Context(), "run-1", 0)
	require.NoError(t, err)
	for _, found := range []json.RawMessage{pressed[0].Found, kills[0].Found} {
		require.JSONEq(t, `{"on": true}`, string(found))
	}
	require.JSONEq(t, `{"on": false}`, string(pressed[0].State))
	require.Nil(t, pressed[1].Found)
}

func TestTouchedFlagsAreThoseOfRunsAndPressesUntilThePlanEnds(t *testing.T) {
	t.Parallel()
	l, pool := setup(t)
	touched := func() []string {
		keys, err := l.Touched(t.Context(), "p")
		require.NoError(t, err)
		return keys
	}
	require.Empty(t, touched())
	moved := recorded(t, l, "p", "s", "moved")
	recorded(t, l, "another", "s", "theirs")
	_, err := l.Press(t.Context(), kill("run-1", "", "moved", "pressed"), false)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"moved", "pressed"}, touched())
	require.NoError(t, l.ForgetFlag(t.Context(), "p", first, "moved", moved, json.RawMessage(`{}`)))
	_, err = pool.Exec(t.Context(), "insert into contraflow.audit (event_key, migration, run_id, plan, plan_hash, event) values ('k', 'm', 'r', 'p', 'h', 'rolled_back')")
	require.NoError(t, err)
	require.Empty(t, touched())

	_, err = pool.Exec(t.Context(), "drop schema contraflow cascade")
	require.NoError(t, err)
	require.Empty(t, touched(), "where contraflow has never worked")
}
