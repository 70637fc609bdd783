package activities

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
)

func (b *bundle) down(t *testing.T, begun Begun, step string, floor, to uint) (Migrated, error) {
	t.Helper()
	return run[Migrated](t, b, b.acts.MigrateDown, MigrateInput{Origin: begun.origin(step), Schema: begun.Schema, Floor: floor, To: to}, call{})
}

func begunShop(t *testing.T) (*bundle, Begun) {
	t.Helper()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	return b, begun
}

func TestMigrateDoesOnlyWhatIsMissing(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	done, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	require.Equal(t, Migrated{Versions: []uint{1, 2}, Version: 2}, done)
	done, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	require.Equal(t, Migrated{Version: 2}, done)
	done, err = b.migrate(t, begun, "drop-old", 3)
	require.NoError(t, err)
	require.Equal(t, Migrated{Versions: []uint{3}, Version: 3}, done)
	done, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	require.Equal(t, Migrated{Version: 3}, done, "a schema beyond the step stays")

	stands, err := run[Migrated](t, b, b.acts.SchemaVersion, MigrateInput{Origin: begun.origin("expand"), Schema: begun.Schema, To: 2}, call{})
	require.NoError(t, err)
	require.Equal(t, Migrated{Versions: []uint{1, 2}, Version: 3}, stands, "and which of the step's versions are ours")
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit where step = 'expand' and detail = 'at version 2'"))
}

func TestMigrateDownTakesOnlyTheStepsVersions(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "drop-old", 3)
	require.NoError(t, err)
	undone, err := b.down(t, begun, "drop-old", 2, 3)
	require.NoError(t, err)
	require.Equal(t, Migrated{Versions: []uint{3}, Version: 2}, undone)
	undone, err = b.down(t, begun, "drop-old", 2, 3)
	require.NoError(t, err)
	require.Equal(t, Migrated{Version: 2}, undone, "a second attempt")
	undone, err = b.down(t, begun, "expand", 0, 2)
	require.NoError(t, err)
	require.Equal(t, Migrated{Versions: []uint{2, 1}, Version: 0}, undone)
	require.False(t, b.has(t, "customers"))
	undone, err = b.down(t, begun, "expand", 0, 2)
	require.NoError(t, err)
	require.Equal(t, Migrated{}, undone)
}

func TestMigrateDownLeavesWhatOthersApplied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.stock(t, 1, false)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	for _, want := range []Migrated{{Versions: []uint{2}, Version: 1}, {Version: 1}} {
		undone, err := b.down(t, begun, "expand", 0, 2)
		require.NoError(t, err)
		require.Equal(t, want, undone, "version 1 is not ours")
		require.True(t, b.has(t, "customers"))
	}
	_, err = b.migrate(t, begun, "expand", 2)
	requirePermanent(t, err, "Superseded", "its rollback has begun")
}

func TestAStrangerOnTopIsNotTakenDown(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.exec(t, "alter table customers drop column address; update schema_migrations set version = 3")
	_, err = b.down(t, begun, "expand", 0, 2)
	requirePermanent(t, err, "Stranger", "version 2 stays", "version 3", "outside contraflow")
	require.Equal(t, 3, one[int](t, b, "select version::int from schema_migrations"))
}

func TestFilesThatWereChangedAfterBeginAreRefused(t *testing.T) {
	t.Parallel()
	for title, change := range map[string]func(*testing.T, *bundle){
		"another text": func(t *testing.T, b *bundle) {
			b.edit(t, "shop/migrations/000002_add_street.up.sql", "street text", "street varchar")
		},
		"another way back": func(t *testing.T, b *bundle) {
			b.edit(t, "shop/migrations/000002_add_street.down.sql", "drop column street", "drop column if exists street")
		},
		"a version more": func(t *testing.T, b *bundle) { b.write(t, "shop/migrations/000000_first.up.sql", "select 1;") },
		"a file gone":    func(t *testing.T, b *bundle) { b.remove(t, "shop/migrations/000003_drop_address.down.sql") },
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			change(t, b)
			_, err := b.migrate(t, begun, "expand", 2)
			requirePermanent(t, err, "SQLFiles", "changed since it was planned", "shop/migrations")
			_, err = b.down(t, begun, "expand", 0, 2)
			requirePermanent(t, err, "SQLFiles", "changed since it was planned")
			require.False(t, b.has(t, "customers"))
		})
	}
	t.Run("a version above the plan's", func(t *testing.T) {
		t.Parallel()
		b, begun := begunShop(t)
		b.write(t, "shop/migrations/000004_later.up.sql", "create table later ();")
		_, err := b.migrate(t, begun, "expand", 2)
		require.NoError(t, err, "it belongs to a later plan")
	})
}

func TestADirtySchemaIsNoSuccess(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 1)
	require.NoError(t, err)
	b.exec(t, "update schema_migrations set version = 2, dirty = true") // golang-migrate failed half way
	_, err = b.migrate(t, begun, "expand", 2)
	requirePermanent(t, err, "SchemaVersion", "dirty")
}

func TestABrokenStatementLeavesTheVersionBefore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.write(t, "shop/migrations/000002_add_street.up.sql", "alter table customers add column street text;\nalter table nowhere add column x int;")
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	requirePermanent(t, err, "Statement", "000002_add_street.up.sql:2", `relation "nowhere" does not exist`)
	require.Equal(t, 1, one[int](t, b, "select version::int from schema_migrations where not dirty"))
	undone, err := b.down(t, begun, "expand", 0, 2)
	require.NoError(t, err)
	require.Equal(t, []uint{1}, undone.Versions)
}

// waiting hears heartbeats until one of them holds a text.
func waiting(text string) (hear func(json.RawMessage), heard <-chan struct{}) {
	reached := make(chan struct{})
	var once sync.Once
	return func(raw json.RawMessage) {
		if strings.Contains(string(raw), text) {
			once.Do(func() { close(reached) })
		}
	}, reached
}

func TestMigrateTellsForWhomItWaitsAndCanBeCancelled(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 1)
	require.NoError(t, err)
	b.exec(t, "begin; select * from customers")

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	hear, heard := waiting("AccessExclusiveLock on customers")
	go func() {
		select {
		case <-heard:
			cancel(temporal.NewCanceledError()) // as the SDK does when the server asks for it
		case <-ctx.Done():
		}
	}()
	_, err = run[Migrated](t, b, b.acts.Migrate, MigrateInput{Origin: begun.origin("expand"), Schema: begun.Schema, To: 2}, call{ctx: ctx, onAir: hear})
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	var ended *temporal.CanceledError
	var waited string
	require.ErrorAs(t, err, &ended)
	require.NoError(t, ended.Details(&waited))
	require.Contains(t, waited, "AccessExclusiveLock on customers, blocked by pid", "the step's timeout says so")
	b.exec(t, "rollback") // until here nothing but the cancellation could end it
	require.Equal(t, 1, one[int](t, b, "select version::int from schema_migrations where not dirty"))
}
