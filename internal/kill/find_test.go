package kill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/kill"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/internal/pg"
)

// elsewhere is another database with a migration of the same id, whose flag is on for everybody.
func elsewhere(b *bundle) (also func(*kill.Order), ends func()) {
	b.t.Helper()
	db := pgtest.New(b.t)
	pool, err := pg.Open(b.t.Context(), db.DSN, pg.Settings{})
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	require.NoError(b.t, pg.EnsureSchema(b.t.Context(), pool))
	l, me := ledger.New(pool), ledger.Holder{Migration: shop.Migration, FirstRun: "run-0"}
	require.NoError(b.t, l.Claim(b.t.Context(), "older", "h", me, ledger.Holder{}))
	require.NoError(b.t, b.server.CreateFlag("older"))
	require.NoError(b.t, l.UseFlag(b.t.Context(), "older", me, ledger.Scope{Project: "shop", Environment: "production"}, "older"))
	b.moves("older", flags.Change{Percent: 100})
	return func(o *kill.Order) { o.Databases = append(o.Databases, kill.Database{Name: "archive", DSN: db.DSN}) },
		func() { require.NoError(b.t, l.Close(b.t.Context(), "older", me, "completed", true)) }
}

func TestTheMigrationThatRunsIsMeantAndNotOneThatIsOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	also, ends := elsewhere(b)
	ends()
	for range 10 { // whoever answers first
		report, err := b.press(also)
		require.NoError(t, err)
		require.Equal(t, "shop", report.Database)
	}
	require.Equal(t, []string{"off", "on: 100 % true"}, b.now(readNew, "older"))
}

func TestOfTwoThatRunAPersonSaysWhichIsMeant(t *testing.T) {
	t.Parallel()
	b := setup(t)
	also, ends := elsewhere(b)
	refused := func(says string) {
		_, err := b.press(also)
		require.ErrorIs(t, err, kill.ErrSeveral)
		require.ErrorContains(t, err, says)
		require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, "older"), "nothing was changed")
	}
	refused("split runs in archive and in shop: say with --database")
	ends()
	require.NoError(t, b.ledger.Close(t.Context(), "p", shop, "completed", true))
	refused("split is over in archive and in shop")
	_, err := b.press()
	require.NoError(t, err)
}

func (b *bundle) rolledBack() {
	b.t.Helper()
	require.NoError(b.t, b.ledger.Close(b.t.Context(), "p", shop, "rolled_back", true))
	require.NoError(b.t, b.ledger.Audit(b.t.Context(), ledger.Event{Key: "end", Migration: "split", FirstRun: "run-1", Plan: "p", Event: "rolled_back"}))
}

func TestFlagsThatWereRolledBackAreNotTheMigrationsAnyMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rolledBack()
	_, err := b.press()
	require.ErrorIs(t, err, kill.ErrNothingMoved)
	require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, writeNew))
}

// The first version of the plan had moved them the other way round.
func TestTheOrderIsThatOfThePlanAsItRunsNow(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.rolledBack()
	two := ledger.Holder{Migration: "split", FirstRun: "run-2"}
	require.NoError(t, b.ledger.Claim(t.Context(), "p", "h2", two, ledger.Holder{}))
	for _, key := range []string{readNew, writeNew} {
		require.NoError(t, b.ledger.UseFlag(t.Context(), "p", two, ledger.Scope{Project: "shop", Environment: "production"}, key))
	}
	report, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"write-new off", "read-new off"}, outcomes(report))
	require.False(t, report.Undoing)
}

// TestAMigrationThatIsOverIsNotMeantWhereAnotherMayRun because the one that runs may be in the database that is silent.
func TestAMigrationThatIsOverIsNotMeantWhereAnotherMayRun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.ledger.Close(t.Context(), "p", shop, "completed", true))
	for _, edit := range []func(*kill.Order){func(*kill.Order) {}, thePlan} {
		_, err := b.press(edit, func(o *kill.Order) { o.Databases = append(o.Databases, nowhere) })
		require.ErrorIs(t, err, kill.ErrSilent)
		require.ErrorContains(t, err, "split is over in shop, and may run where nobody answers: say with --database which one is meant; database nowhere: it does not answer")
		require.Equal(t, []string{"on: 25 % true", "on: 100 % true"}, b.now(readNew, writeNew))
	}
	report, err := b.press() // that one is meant
	require.NoError(t, err)
	require.False(t, report.Running)
	require.Equal(t, []string{"off", "off"}, b.now(readNew, writeNew))
}

func TestWhatARollbackHasPutBackStaysOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `insert into contraflow.flag_record (plan, step, flag_key, before, ours) values ('p', 'turn', 'write-new', '{}', '[]')`)
	require.NoError(t, err)
	require.NoError(t, b.ledger.Undoing(t.Context(), "p", shop))
	report, err := b.press()
	require.NoError(t, err)
	require.Equal(t, []string{"write-new off"}, outcomes(report))
	require.True(t, report.Undoing)
	_, err = b.pool.Exec(t.Context(), `delete from contraflow.flag_record`)
	require.NoError(t, err)
	_, err = b.press()
	require.ErrorIs(t, err, kill.ErrNothingMoved)
	require.ErrorContains(t, err, "rolls back, and has put back what it had moved")
	require.Equal(t, []string{"on: 25 % true"}, b.now(readNew))
}
