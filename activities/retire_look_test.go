package activities

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
)

var errRenewed = fmt.Errorf("renew the API token: %w", flags.ErrUnauthorized)

// All that is left to undo is a migration that has done its work: that a token has changed is no reason to.
func TestAFlagServiceThatRefusesIsInTheWay(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, "")
	r.refuse(errRenewed)
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "whether flag "+writeNew+" is in use can't be seen: renew the API token", readNew)
	r.refuse(&flags.RateLimited{Until: time.Now().Add(time.Minute)})
	_, err = b.mayRetire(t, in, call{})
	require.Greater(t, requireRetryable(t, err, "rate limited until"), 50*time.Second)
	b.acts.Flags = nil
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "can't be seen: the worker has no flag provider")
}

func TestAWaitOutlastsATokenThatIsRenewed(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", otherwise: wait")
	r.refuse(errRenewed)
	var heard story
	wait := background(func() error {
		_, err := b.mayRetire(t, in, call{onAir: heard.hear(t)})
		return err
	})
	require.Eventually(t, func() bool { return strings.Contains(heard.told(), "renew the API token") }, patience, look)
	r.refuse(nil)
	require.NoError(t, wait())
}

func TestOtherEnvironmentsOfTheFlagAreLookedAt(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, "")
	in.Retire.Flags = []string{writeNew}
	r.elsewhere = map[string]flags.Status{
		"staging": {Activity: flags.Active, LastRequested: time.Now().Add(-3 * time.Hour)},
		"demo":    {Activity: flags.New},
		"test":    {Activity: flags.Inactive, LastRequested: time.Now().Add(-200 * time.Hour)},
		"canary":  {Activity: flags.Launched, LastRequested: time.Now().Add(-time.Hour)},
	}
	_, err := b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "flag "+writeNew+" is active in environment staging, asked for 3 h ago, and is archived there as well")
	for _, quiet := range []string{"demo", "test", "canary"} {
		require.NotContains(t, err.Error(), quiet)
	}
	delete(r.elsewhere, "staging")
	may, err := b.mayRetire(t, in, call{})
	require.NoError(t, err)
	require.Contains(t, may.Notes, "flag "+writeNew+" is launched in environment canary as well, asked for 60 min ago")
}

func TestAFlagThatAnotherPlanMovesIsInTheWay(t *testing.T) {
	t.Parallel()
	b, _, in := begunRetiring(t, "")
	l := b.acts.Databases["shop"].ledger
	production := ledger.Scope{Project: "shop", Environment: "production"}
	me := ledger.Holder{Migration: "other-1", FirstRun: "other-run"}
	require.NoError(t, l.Claim(t.Context(), "other", "h", me, ledger.Holder{}))
	require.NoError(t, l.UseFlag(t.Context(), in.Origin.Plan, in.Origin.holder(), production, writeNew))
	require.NoError(t, l.UseFlag(t.Context(), "other", me, ledger.Scope{Project: "shop", Environment: "staging"}, readNew))
	_, err := b.mayRetire(t, in, call{})
	require.NoError(t, err, "its own plan, and another flag of that name")

	require.NoError(t, l.UseFlag(t.Context(), "other", me, production, writeNew))
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "flag "+writeNew+" is moved by plan other, whose migration other-1 has not ended")
	require.NoError(t, l.Close(t.Context(), "other", me, "completed", true))
	_, err = b.mayRetire(t, in, call{})
	require.NoError(t, err)
}

func TestWhatIsGivenUpWaitingForIsSaid(t *testing.T) {
	t.Parallel()
	b, r, in := begunRetiring(t, ", otherwise: wait")
	r.says(readNew, flags.Active, time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	var heard story
	wait := background(func() error {
		_, err := b.mayRetire(t, in, call{ctx: ctx, onAir: heard.hear(t)})
		return err
	})
	require.Eventually(t, func() bool { return strings.Contains(heard.told(), "is active") }, patience, look)
	cancel(temporal.NewCanceledError())
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, wait(), &cancelled)
	var text string
	require.NoError(t, cancelled.Details(&text))
	require.Contains(t, text, "waits until its flags can be retired: flag "+readNew+" is active")
}
