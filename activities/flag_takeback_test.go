package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

func TestWhatPeopleWereAskedForIsTakenBackWhenItMayNotBeMade(t *testing.T) {
	t.Parallel()
	for kind, happens := range map[string]func(*bundle){
		"Killed": func(b *bundle) {
			_, err := b.acts.Databases["shop"].ledger.Press(t.Context(), []ledger.Kill{{
				Plan: shopPlan, Migration: "m", FirstRun: "run-1", Key: writeNew, Actor: "alice"}}, false)
			require.NoError(t, err)
		},
		"Stranger": func(b *bundle) { b.instruct(t, writeNew, `{"kind": "turnFlagOn"}`) },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			b.asking(t)
			wait := background(func() error {
				_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
				return err
			})
			require.Eventually(t, func() bool { return len(b.flagd.Approvals(writeNew)) == 1 }, patience, look)
			happens(b)
			requirePermanent(t, wait(), kind)
			require.Empty(t, b.flagd.Approvals(writeNew), "approved now it would be made behind everybody's back")
		})
	}
}

func TestWhatAPressHasAskedForIsTakenBackWhenTheMigrationGoesOn(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.asking(t)
	kills, err := b.acts.Databases["shop"].ledger.Press(t.Context(), []ledger.Kill{{
		Plan: shopPlan, Migration: "m", FirstRun: "run-1", Key: writeNew, Actor: "alice"}}, false)
	require.NoError(t, err)
	b.exec(t, "update contraflow.flag_kill set at = at + interval '1 hour'") // it has not settled, however long this takes
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	_, err = provider.Apply(t.Context(), writeNew, flags.Change{}, ledger.KillNote("m")+": pressed by alice", nil)
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	in := begun.flag("write-new", writeNew, 10)
	in.Kills = kills[0]
	_, err = b.apply(t, in)
	requireRetryable(t, err, "somebody is pressing the kill switch")
	require.Len(t, b.flagd.Approvals(writeNew), 1)

	b.exec(t, "update contraflow.flag_kill set at = at - interval '2 hours'")
	_, err = b.apply(t, in)
	require.NoError(t, err)
	require.Empty(t, b.flagd.Approvals(writeNew))
}

func TestWhatACompensationHasAskedForIsTakenBackWhereAStrangerIsInTheWay(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.asking(t)
	wait := background(func() error {
		_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
		return err
	})
	require.Eventually(t, func() bool { return len(b.flagd.Approvals(writeNew)) == 1 }, patience, look)
	b.instruct(t, writeNew, `{"kind": "updateFallthroughVariationOrRollout", "variationId": "`+b.variation(t, writeNew, 0)+`"}`)
	requirePermanent(t, wait(), "Stranger")
	require.Empty(t, b.flagd.Approvals(writeNew), "a skip leaves the flag as it is")
}
