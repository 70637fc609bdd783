package kill_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// toBeMade is a flag that a step was about to make.
const toBeMade = "to-be-made"

func (b *bundle) uses(key string) {
	b.t.Helper()
	require.NoError(b.t, b.ledger.UseFlag(b.t.Context(), "p", shop, ledger.Scope{Project: "shop", Environment: "production"}, key))
}

func (b *bundle) archives(keys ...string) {
	b.t.Helper()
	p, err := b.provider(plan.FlagScope{Project: "shop", Environment: "production"})
	require.NoError(b.t, err)
	for _, key := range keys {
		require.NoError(b.t, p.Archive(b.t.Context(), key, "a person"))
	}
}

func TestAFlagThatIsGoneLeavesTheSwitchToTheOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []*flags.Context{nil, {Kind: "account", Key: acme}} {
		b := setup(t)
		b.uses(toBeMade)
		b.archives(readNew)
		report, err := b.press(func(o *kill.Order) { o.Context = c })
		require.NoError(t, err)
		require.Equal(t, []string{"to-be-made gone", "read-new gone", "write-new off"}, outcomes(report))
		require.Contains(t, report.Flags[0].Why, "flag not found")
		require.Contains(t, report.Flags[1].Why, "flag is archived")
		require.Contains(t, strings.Join(b.heard, "\n"), "read-new is not there, so applications are served the fallback in their own code: ")
		if c == nil {
			require.Equal(t, []string{"off"}, b.now(writeNew))
		}
		require.Equal(t, "3", b.one(`select count(*)::text from contraflow.flag_kill where done_at is not null`), "nobody needs to look there")
		require.Equal(t, "1", b.one(`select count(*)::text from contraflow.flag_kill where state is not null and found is not null`))
		require.Contains(t, b.one(`select detail from contraflow.audit`), "to-be-made gone, read-new gone, write-new off in ")
	}
}

// TestWhereNoFlagIsThereNothingIsSaidToBeOff because it is more likely another account's configuration.
func TestWhereNoFlagIsThereNothingIsSaidToBeOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.archives(readNew, writeNew)
	report, err := b.press()
	require.ErrorIs(t, err, kill.ErrNotOff)
	require.ErrorIs(t, err, flags.ErrArchived)
	require.ErrorContains(t, err, "none of them is there")
	require.Equal(t, []string{"read-new gone", "write-new gone"}, outcomes(report))
	require.True(t, report.Recorded, "and the migration pauses")
}

func TestAFlagThatIsMadeMeanwhileGoesOffAsWell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.uses(toBeMade)
	var once sync.Once
	b.onAir = func(text string) {
		if strings.HasPrefix(text, "write-new is off") {
			once.Do(func() {
				require.NoError(t, b.server.CreateFlag(toBeMade))
				b.moves(toBeMade, flags.Change{Percent: 50})
			})
		}
	}
	report, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"to-be-made off", "read-new off", "write-new off"}, outcomes(report))
	require.Equal(t, []string{"off"}, b.now(toBeMade))
}

// TestAFlagThatIsOffAlreadyIsPassedThoughTheStreamShowsNothing because the first press may have been cut off just there.
func TestAFlagThatIsOffAlreadyIsPassedThoughTheStreamShowsNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.moves(readNew, flags.Change{Percent: 0})
	b.config.StreamURL, b.config.ReadBack = "http://127.0.0.1:1", quick
	for range 2 {
		report, err := b.press()
		require.NoError(t, err)
		require.Equal(t, []string{"read-new off_unseen", "write-new off_unseen"}, outcomes(report))
		require.Equal(t, "off → off", report.Flags[0].Was+" → "+report.Flags[0].Now)
		require.Contains(t, report.Flags[0].Why, "does not show it")
	}
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
	require.Equal(t, "4", b.one(`select count(*)::text from contraflow.flag_kill where found is not null and state ->> 'summary' = 'off'`))
}
