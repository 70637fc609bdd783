package kill_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/pgproxy"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
)

func TestBehindThePointOfNoReturnNothingGoesOffWithoutForce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.ledger.PastReturn(t.Context(), "p", shop, 0))
	for _, c := range []*flags.Context{nil, {Kind: "account", Key: acme}} {
		_, err := b.press(func(o *kill.Order) { o.Context = c })
		require.ErrorIs(t, err, ledger.ErrPastReturn)
	}
	require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, writeNew))
	report, err := b.press(func(o *kill.Order) { o.Force = true })
	require.NoError(t, err)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
}

// TestWhileTheMigrationMayPassThePointOfNoReturnNothingGoesOffUnjudged because the columns would be dropped under an application that
// was just switched back to them.
func TestWhileTheMigrationMayPassThePointOfNoReturnNothingGoesOffUnjudged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	marking, err := b.pool.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = marking.Rollback(t.Context()) }()
	_, err = marking.Exec(t.Context(), `update contraflow.migration set past_return_at = now()`)
	require.NoError(t, err)

	report, err := b.press()
	require.ErrorIs(t, err, ledger.ErrPassing)
	require.Empty(t, report.Flags)
	require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, writeNew))

	report, err = b.press(func(o *kill.Order) { o.Force = true })
	require.NoError(t, err)
	require.True(t, report.Recorded)
	require.Equal(t, []string{"read-new off", "write-new off"}, outcomes(report))
}

func TestADatabaseThatTakesNoRecordStillTellsOfThePointOfNoReturn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.ledger.PastReturn(t.Context(), "p", shop, 0))
	proxy := pgproxy.Start(t, b.db.DSN)
	proxy.OnStatement(func(s pgproxy.Statement) {
		if strings.Contains(s.SQL, "insert into contraflow.flag_kill") {
			proxy.CutAt(s.N, pgproxy.Cut{Hard: true})
		}
	})
	through := func(o *kill.Order) { o.Databases[0].DSN = proxy.DSN() }
	_, err := b.press(through)
	require.ErrorIs(t, err, ledger.ErrPastReturn)
	require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, writeNew))
	_, err = b.press(through, func(o *kill.Order) { o.Force = true })
	require.ErrorIs(t, err, kill.ErrUnrecorded)
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
}
