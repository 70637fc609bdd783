package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/plan"
)

func (b *bundle) marked(t *testing.T) bool {
	t.Helper()
	return one[bool](t, b, "select past_return_at is not null from contraflow.migration")
}

func TestWhatNothingUndoesIsMarkedBeforeItBegins(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	require.False(t, b.marked(t), "this can be undone")

	drop := MigrateInput{Origin: begun.origin("drop-old"), Schema: begun.Schema, Floor: 2, To: 3, Irreversible: true}
	migrate := func() error { _, err := run[Migrated](t, b, b.acts.Migrate, drop, call{}); return err }
	ids := b.pressed(t, "run-1", "", readNew)
	requirePermanent(t, migrate(), "Killed", "the kill switch was pressed")
	require.False(t, b.marked(t))
	require.Equal(t, 2, one[int](t, b, "select version::int from schema_migrations"), "the application reads the old columns again")

	drop.Kills = ids[0]
	alone := b.pressed(t, "run-1", "account", readNew)
	requirePermanent(t, migrate(), "Killed", "the kill switch was pressed")
	require.False(t, b.marked(t))
	drop.Kills = alone[0]
	require.NoError(t, migrate(), "resumed from")
	require.True(t, b.marked(t))
}

func TestARollbackTakesTheMarkAway(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	db := b.acts.Databases["shop"]
	require.NoError(t, db.ledger.PastReturn(t.Context(), begun.Plan.Name, begun.origin("").holder(), 0))
	_, err = b.down(t, begun, "expand", 0, 2)
	require.NoError(t, err)
	require.False(t, b.marked(t), "the step that was about to begin never did")
}

func TestWhatWasWrittenWhileFlagsWereOffIsProvedBeforeAnythingIsDropped(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.exec(t, "insert into customers (name, email, address) values ('Ada', 'ada@example.com', '1 Street')")
	drop := MigrateInput{Origin: begun.origin("drop-old"), Schema: begun.Schema, Floor: 2, To: 3, Irreversible: true,
		Kills: 1, Proofs: []Proof{{Step: "prove", Verify: *begun.Plan.Steps[begun.Plan.StepIndex("prove")].Verify}}}
	migrate := func() error { _, err := run[Migrated](t, b, b.acts.Migrate, drop, call{}); return err }
	requirePermanent(t, migrate(), "InUse", "what step prove has proved does not hold any more: its query returned 1, may be at most 0")
	require.False(t, b.marked(t))
	require.Equal(t, 2, one[int](t, b, "select version::int from schema_migrations"))

	b.exec(t, "update customers set street_number = '1', street = 'Street'")
	require.NoError(t, migrate())
	require.True(t, b.marked(t))
}

// A step in between may have renamed what the query names: only people can tell what that means.
func TestAProofThatCantBeAskedBeforeADropIsAQuestion(t *testing.T) {
	t.Parallel()
	b, _, drop, migrate := dropping(t)
	drop.Kills = 1
	drop.Proofs = []Proof{{Step: "prove", Verify: plan.Verify{Query: "select count(*) from customers where renamed is null", Max: new(0.0)}}}
	requirePermanent(t, migrate(), "InUse", "step prove can't be asked whether what it has proved still holds: the query does not work", `column "renamed" does not exist`)
	require.False(t, b.marked(t))
	drop.Force = true
	require.NoError(t, migrate())
	require.True(t, b.marked(t))
}

// Temporal tries the same input again: behind the first version there may be nothing left to compare with.
func TestAStepThatHasBegunToDropAsksNoProofs(t *testing.T) {
	t.Parallel()
	b, begun := setupPurging(t)
	drop := MigrateInput{Origin: begun.origin("drop-old"), Schema: begun.Schema, Floor: 2, To: 4, Irreversible: true, Kills: 1,
		Proofs: []Proof{{Step: "prove", Verify: plan.Verify{Query: "select count(*) from customers where address is not null and street is null", Max: new(0.0)}}}}
	migrate := func() error { _, err := run[Migrated](t, b, b.acts.Migrate, drop, call{}); return err }
	requirePermanent(t, migrate(), "Statement", "000004_purge")
	require.Equal(t, 3, one[int](t, b, "select version::int from schema_migrations"), "what the query names is gone")
	requirePermanent(t, migrate(), "SchemaVersion", "000004_purge", "needs a look")
	b.exec(t, "delete from contraflow.ddl_intent where version = 4; create or replace procedure purge() language sql as 'delete from kept'")
	require.NoError(t, migrate())
	require.Equal(t, 4, one[int](t, b, "select version::int from schema_migrations"))
}

// While the drop may be refused, the trigger alone may be what fills the new shape.
func TestASyncTriggerStandsForAsLongAsTheDropMayBeForbidden(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	fill := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[begun.Plan.StepIndex("fill")].Backfill}
	fill.Backfill.Sync = plan.SyncTrigger
	_, err = run[any](t, b, b.acts.InstallSync, fill, call{})
	require.NoError(t, err)
	stands := func() bool {
		return one[bool](t, b, "select exists (select from pg_trigger where tgrelid = 'customers'::regclass and not tgisinternal and tgname like '%sync%')")
	}
	require.True(t, stands())

	drop := MigrateInput{Origin: begun.origin("drop-old"), Schema: begun.Schema, Floor: 2, To: 3, Irreversible: true, Synced: []BackfillInput{fill}}
	migrate := func() error { _, err := run[Migrated](t, b, b.acts.Migrate, drop, call{}); return err }
	ids := b.pressed(t, "run-1", "", readNew)
	requirePermanent(t, migrate(), "Killed")
	require.True(t, stands())
	drop.Kills, drop.Proofs = ids[0], []Proof{{Step: "prove", Verify: plan.Verify{Query: "select 1", Max: new(0.0)}}}
	requirePermanent(t, migrate(), "InUse")
	require.True(t, stands())

	drop.Proofs = nil
	b.exec(t, "alter table customers disable trigger all")
	b.exec(t, "insert into customers (name, email, address) values ('Ada', 'ada@example.com', '1 Street')")
	requirePermanent(t, migrate(), "Backfill", "1 rows of table customers are without their new values")
	require.False(t, stands())
	b.exec(t, "update customers set street_number = '1', street = 'Street'")
	require.NoError(t, migrate())
	require.Equal(t, 3, one[int](t, b, "select version::int from schema_migrations"))
}

// A trigger may wait for its table as long as a report takes, and so long nothing is lost.
func TestTheSwitchWorksWhileATriggerWaitsForItsTable(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	fill := BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[begun.Plan.StepIndex("fill")].Backfill}
	fill.Backfill.Sync = plan.SyncTrigger
	_, err = run[any](t, b, b.acts.InstallSync, fill, call{})
	require.NoError(t, err)
	triggers := func() int {
		return one[int](t, b, "select count(*)::int from pg_trigger where tgrelid = 'customers'::regclass and not tgisinternal and tgname like '%sync%'")
	}
	stood := triggers()
	require.Positive(t, stood)
	b.exec(t, "begin; select count(*) from customers")
	drop := MigrateInput{Origin: begun.origin("drop-old"), Schema: begun.Schema, Floor: 2, To: 3, Irreversible: true, Synced: []BackfillInput{fill}}
	migrate := func() error { _, err := run[Migrated](t, b, b.acts.Migrate, drop, call{}); return err }
	done := make(chan error, 1)
	go func() { done <- migrate() }()
	look := b.db.Connect(t)
	require.Eventually(t, func() bool {
		var waits bool
		err := look.QueryRow(t.Context(), "select exists (select from pg_locks where not granted and relation = 'customers'::regclass)").Scan(&waits)
		return err == nil && waits
	}, 2*patience, time.Millisecond)
	ids := b.pressed(t, "run-1", "", readNew)
	requirePermanent(t, <-done, "Killed", "the kill switch was pressed")
	require.False(t, b.marked(t))
	require.Equal(t, stood, triggers())
	b.exec(t, "rollback")

	drop.Kills = ids[0]
	require.NoError(t, migrate())
	require.True(t, b.marked(t))
	require.Equal(t, 3, one[int](t, b, "select version::int from schema_migrations"))
}

// dropping is the irreversible step behind flags that serve everybody.
func dropping(t *testing.T) (*bundle, Begun, *MigrateInput, func() error) {
	t.Helper()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	_, err = b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	drop := &MigrateInput{Origin: begun.origin("drop-old"), Schema: begun.Schema, Floor: 2, To: 3, Irreversible: true, Flags: &scope}
	return b, begun, drop, func() error { _, err := run[Migrated](t, b, b.acts.Migrate, *drop, call{}); return err }
}

func TestTheOldShapeStaysWhileAContextLivesInIt(t *testing.T) {
	t.Parallel()
	for _, force := range []bool{false, true} {
		b, _, drop, migrate := dropping(t)
		id := b.press(t, "run-1", theCustomer)
		requirePermanent(t, migrate(), "Killed")
		drop.Kills = id
		requirePermanent(t, migrate(), "InUse", "one context is out of flag "+writeNew, "then retry")
		require.False(t, b.marked(t), "the switch can be pressed still")
		if drop.Force = force; !force {
			b.instruct(t, writeNew, `{"kind": "removeTargets", "variationId": "`+b.variation(t, writeNew, 1)+`", "values": ["`+customer+`"]}`)
		}
		require.NoError(t, migrate())
		require.True(t, b.marked(t))
	}
}

// Whether nobody has put it back, or a run that was cut off was told of the press.
func TestTheOldShapeStaysWhileAFlagIsOffByTheSwitch(t *testing.T) {
	t.Parallel()
	for _, told := range []string{"run-1", "run-0"} {
		b, _, drop, migrate := dropping(t)
		id := b.press(t, told, changeTo(0))
		if told == "run-1" {
			drop.Kills = id
		}
		requirePermanent(t, migrate(), "InUse", "flag "+writeNew+" is off for everybody")
		require.Equal(t, 2, one[int](t, b, "select version::int from schema_migrations"))
		b.serve(t, writeNew, 100)
		require.NoError(t, migrate())
	}
}

func TestForceIsNotOfWhoIsKilledSince(t *testing.T) {
	t.Parallel()
	b, _, drop, migrate := dropping(t)
	drop.Kills, drop.Force = b.press(t, "run-1", theCustomer), true
	b.press(t, "run-1", theCustomer)
	requirePermanent(t, migrate(), "Killed")
	require.False(t, b.marked(t))
}
