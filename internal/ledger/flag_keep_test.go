package ledger_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/ledger"
)

// recorded claims the plan and records a flag of it.
func recorded(t *testing.T, l *ledger.Ledger, plan, step, key string) ledger.Record {
	t.Helper()
	require.NoError(t, l.Claim(t.Context(), plan, "h", first, nobody))
	r := ledger.Record{Step: step, Before: json.RawMessage(`{}`), Ours: json.RawMessage(`[]`)}
	mark, err := l.KeepFlag(t.Context(), plan, first, shopScope, key, r, false)
	require.NoError(t, err)
	r.Mark = mark
	return r
}

func TestARecordIsWrittenOverTheOneThatWasReadAlone(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	require.NoError(t, l.Claim(t.Context(), "p", "h", first, nobody))
	keep := func(r ledger.Record) (string, error) {
		return l.KeepFlag(t.Context(), "p", first, shopScope, "f", r, false)
	}
	some := ledger.Record{Step: "some", Before: json.RawMessage(`{"v": 1}`), Ours: json.RawMessage(`["a"]`), Kills: 3}
	missing := some
	missing.Mark = "7"
	_, err := keep(missing)
	require.ErrorIs(t, err, ledger.ErrAltered, "somebody has removed it")
	uses, err := l.Uses(t.Context(), first.Migration)
	require.NoError(t, err)
	require.Empty(t, uses, "of a flag without a record the kill switch knows nothing")

	mark, err := keep(some)
	require.NoError(t, err)
	uses, err = l.Uses(t.Context(), first.Migration)
	require.NoError(t, err)
	require.Len(t, uses, 1)
	_, err = keep(some)
	require.ErrorIs(t, err, ledger.ErrAltered, "it was not there when the caller looked")
	late := some
	late.Mark, some.Mark = mark, mark
	some.Mark, err = keep(some)
	require.NoError(t, err)
	require.NotEqual(t, mark, some.Mark, "though it says the same")
	_, err = keep(late)
	require.ErrorIs(t, err, ledger.ErrAltered)
	_, err = keep(ledger.Record{Step: "all", Before: json.RawMessage(`{"v": 2}`), Ours: json.RawMessage(`["b"]`)})
	require.NoError(t, err)
	recorded(t, l, "q", "some", "f")

	all, err := l.Records(t.Context(), "p", "f")
	require.NoError(t, err)
	require.Len(t, all, 2, "those of this plan's steps, and of no other plan")
	some.FirstRun = first.FirstRun
	require.Equal(t, some, all[0])
	require.Equal(t, "all", all[1].Step)
}

func TestWhatAFlagIsPutBackToIsNobodyElsesDoing(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	recorded(t, l, "p", "some", "f")
	all := recorded(t, l, "p", "all", "f")
	recorded(t, l, "p", "some", "another")
	require.NoError(t, l.Undoing(t.Context(), "p", first))
	back := json.RawMessage(`{"v": 1}`)
	altered := all
	altered.Mark = "7"
	require.ErrorIs(t, l.ForgetFlag(t.Context(), "p", first, "f", altered, back), ledger.ErrAltered)
	require.ErrorIs(t, l.ForgetFlag(t.Context(), "p", second, "f", all, back), ledger.ErrSuperseded)
	require.NoError(t, l.ForgetFlag(t.Context(), "p", first, "f", all, back))
	require.ErrorIs(t, l.ForgetFlag(t.Context(), "p", first, "f", all, back), ledger.ErrAltered)
	left, err := l.Records(t.Context(), "p", "f")
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.JSONEq(t, `[{"v": 1}]`, string(left[0].Ours))
	left, err = l.Records(t.Context(), "p", "another")
	require.NoError(t, err)
	require.JSONEq(t, `[]`, string(left[0].Ours))
}

func TestWhoDoesNotHoldThePlanRecordsNothing(t *testing.T) {
	t.Parallel()
	l, _ := setup(t)
	kept := recorded(t, l, "p", "s", "f")
	_, err := l.KeepFlag(t.Context(), "p", second, shopScope, "f", kept, false)
	require.ErrorIs(t, err, ledger.ErrSuperseded)
	require.ErrorIs(t, l.Holds(t.Context(), "p", second, false), ledger.ErrSuperseded)
	require.NoError(t, l.Holds(t.Context(), "p", first, false))
	require.NoError(t, l.Undoing(t.Context(), "p", first))
	_, err = l.KeepFlag(t.Context(), "p", first, shopScope, "f", kept, false)
	require.ErrorIs(t, err, ledger.ErrSuperseded)
	require.ErrorIs(t, l.Holds(t.Context(), "p", first, false), ledger.ErrSuperseded)
	_, err = l.KeepFlag(t.Context(), "p", first, shopScope, "f", kept, true)
	require.NoError(t, err)
	require.NoError(t, l.Holds(t.Context(), "p", first, true))
}
