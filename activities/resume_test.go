package activities

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/signals"
)

// purging is a plan whose third step is irreversible and takes two versions, of which the second works outside a transaction.
const purging = `  - {name: expand, migrate: {to: 2}}
  - {name: prove, verify: {query: "select 0", max: 0}}
  - {name: may, approve: {by: [alice]}}
  - {name: drop-old, migrate: {to: 4, irreversible: true}}
  - {name: retire, retire: {flags: [customers-write-new, customers-read-new]}}
`

const noTransaction = "-- contraflow: no-transaction\n"

func setupPurging(t *testing.T) (*bundle, Begun) {
	t.Helper()
	b := setup(t)
	b.only(t, purging)
	b.write(t, "shop/migrations/000004_purge.up.sql", noTransaction+"call purge();")
	b.exec(t, `create table kept (n int); insert into kept values (1), (2);
		create procedure purge() language plpgsql as $$ begin
			delete from kept where n = 1; commit; delete from kept where n / 0 = 1;
		end $$`)
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.acts.Alive = dead
	return b, begun
}

func (b *bundle) stands(t *testing.T, begun Begun, step string, floor, to uint) Migrated {
	t.Helper()
	now, err := run[Migrated](t, b, b.acts.SchemaVersion, MigrateInput{Origin: begun.origin(step), Schema: begun.Schema, Floor: floor, To: to}, call{})
	require.NoError(t, err)
	return now
}

// Half of what it should destroy is destroyed: a rollback over that is never automatic.
func TestAProcedureThatFailedHalfWayCountsAsRun(t *testing.T) {
	t.Parallel()
	b, begun := setupPurging(t)
	require.Equal(t, Migrated{Version: 2}, b.stands(t, begun, "drop-old", 2, 4), "not begun")
	_, err := b.migrate(t, begun, "drop-old", 4)
	requirePermanent(t, err, "Statement", "000004_purge.up.sql")
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from kept"))

	b.exec(t, "delete from contraflow.ddl_version where version = 3; update schema_migrations set version = 2") // version 4 alone tells it
	require.Equal(t, Migrated{Versions: []uint{4}, Version: 2}, b.stands(t, begun, "drop-old", 2, 4))
	require.Equal(t, []uint{1}, b.stands(t, begun, "expand", 0, 1).Versions, "only those of the step")
	again, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Equal(t, begun.Plan.StepIndex("drop-old"), again.ResumeAt)
	require.Empty(t, again.Begun)
}

func TestAnIrreversibleStepOfWhichAPartIsDoneIsGoneOnWith(t *testing.T) {
	t.Parallel()
	b, begun := setupPurging(t)
	_, err := b.migrate(t, begun, "drop-old", 3)
	require.NoError(t, err)
	again, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Equal(t, begun.Plan.StepIndex("drop-old"), again.ResumeAt, "the step itself, from where it stands")
	require.Empty(t, again.Begun, "nothing is undone behind the point of no return")

	b.exec(t, "create or replace procedure purge() language sql as 'delete from kept'")
	done, err := b.migrateAs(t, "run-2", again, "drop-old", 4)
	require.NoError(t, err)
	require.Equal(t, Migrated{Versions: []uint{4}, Version: 4}, done)
	behind, err := b.begin(t, "p", "run-3")
	require.NoError(t, err)
	require.Equal(t, begun.Plan.StepIndex("drop-old")+1, behind.ResumeAt)
	require.Empty(t, behind.Begun)
}

func TestABuildThatWasCutOffIsUndoneWithItsStep(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, "  - {name: expand, migrate: {to: 2}}\n  - {name: index, migrate: {to: 3}}\n")
	build := noTransaction + "create unique index concurrently streets on customers (street)"
	b.write(t, "shop/migrations/000003_drop_address.up.sql", build)
	b.write(t, "shop/migrations/000003_drop_address.down.sql", noTransaction+"drop index concurrently streets")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	twice := "insert into customers (name, email, address, street) select 'n', 'e', '1 A', 'A' from generate_series(1, 2)"
	b.exec(t, twice)
	_, err = b.migrate(t, begun, "index", 3)
	requirePermanent(t, err, "Statement", "000003_drop_address.up.sql")
	require.False(t, b.has(t, "streets"), "what a refused build leaves would refuse the application's rows")
	// One that is cut off leaves it, and the intent.
	_, err = b.conn.Exec(t.Context(), strings.TrimPrefix(build, noTransaction))
	require.ErrorContains(t, err, "23505")
	require.True(t, b.has(t, "streets"))
	b.exec(t, "insert into contraflow.ddl_intent (schema_name, version, direction, plan, statement_sha) values ('public', 3, 'up', 'p', encode(sha256($1), 'hex'))", []byte(build))

	b.acts.Alive = dead
	again, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, again.Begun, "a next run knows of it")
	for range 2 {
		undone, err := b.down(t, begun, "index", 2, 3)
		require.NoError(t, err)
		require.Equal(t, Migrated{Version: 2}, undone)
		require.False(t, b.has(t, "streets"))
		require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_intent"))
	}
	b.exec(t, twice) // the application is refused nothing
}

func TestAnApprovalThatNobodyCouldGiveIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, "  - {name: go, approve: {by: [carol, dave], quorum: 2}}\n")
	_, err := b.begin(t, "p", "run-1") // by carol
	requirePermanent(t, err, "BadPlan", "step go wants 2 approvals", "carol", "let somebody else start it")
	b.untouched(t)
	_, err = b.beginWith(t, signals.Input{Name: "p", StartedBy: "erin"}, "run-1")
	require.NoError(t, err)
	_, err = b.beginWith(t, signals.Input{Name: "p"}, "run-1")
	require.NoError(t, err)
}

func TestAPlanThatWasRetiringItsFlagsGoesOnThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, "  - {name: write-new, flag: {key: "+writeNew+", rollout: [100]}}\n  - {name: retire, retire: {flags: ["+writeNew+", "+readNew+"]}}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	_, err = b.apply(t, begun.flag("write-new", writeNew, 100))
	require.NoError(t, err)
	b.acts.Alive = dead
	again, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	require.Zero(t, again.ResumeAt)

	_, err = run[any](t, b, b.acts.RetireFlag, FlagInput{Origin: begun.origin("retire"), Scope: *begun.Plan.Flags, Key: writeNew}, call{})
	require.NoError(t, err)
	again, err = b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Equal(t, 1, again.ResumeAt)
	require.Empty(t, again.Begun)
	require.True(t, b.marked(t))

	o := begun.origin("")
	o.FirstRun = "run-2"
	_, err = run[any](t, b, b.acts.Finish, FinishInput{Origin: o, Outcome: signals.Completed}, call{})
	require.NoError(t, err)
	_, err = b.begin(t, "p", "run-3")
	requirePermanent(t, err, "Flag", "unarchive it")
}

func TestAPlanThatOnlyRetiresGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.only(t, "  - {name: retire, retire: {flags: ["+writeNew+", "+readNew+"]}}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	_, err = run[any](t, b, b.acts.RetireFlag, FlagInput{Origin: begun.origin("retire"), Scope: *begun.Plan.Flags, Key: writeNew}, call{})
	require.NoError(t, err)
	b.acts.Alive = dead
	_, err = b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.True(t, b.marked(t), "its first step has begun")
}

func TestAFlagThatAStrangerArchivedIsNoSignOfTheEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`)
	b.acts.Alive = dead
	_, err = b.begin(t, shopPlan, "run-2")
	requirePermanent(t, err, "Flag", "unarchive it")
}

func TestAFlagIsUndoneWhereItWasChanged(t *testing.T) {
	t.Parallel()
	for was, becomes := range map[string]string{"environment: production": "environment: staging", "project: shop": "project: other"} {
		b := setup(t)
		b.acts.Alive = dead
		b.only(t, "  - {name: some, flag: {key: "+writeNew+", rollout: [10, 100]}}\n")
		begun, err := b.begin(t, "p", "run-1")
		require.NoError(t, err)
		_, err = b.apply(t, begun.flag("some", writeNew, 10))
		require.NoError(t, err)
		b.edit(t, "shop/plan.yaml", was, becomes)
		_, err = b.begin(t, "p", "run-2")
		requirePermanent(t, err, "BadPlan", writeNew, "environment production of project shop", "put that back")
		require.Equal(t, "run-1", b.holder(t))
		b.edit(t, "shop/plan.yaml", becomes, was)
		again, err := b.begin(t, "p", "run-2")
		require.NoError(t, err)
		require.Equal(t, []int{0}, again.Begun)
	}
}

func TestAFlagThatNoStepNeedsAnyMoreMayBeGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const steps = "  - {name: on, flag: {key: " + writeNew + "}}\n  - {name: too, flag: {key: " + readNew + "}}\n  - {name: expand, migrate: {to: 2}}\n" +
		"  - {name: prove, verify: {query: \"select 0\", max: 0}}\n  - {name: may, approve: {by: [alice]}}\n  - {name: drop-old, migrate: {to: 3, irreversible: true}}\n"
	b.only(t, steps+"  - {name: retire, retire: {flags: ["+readNew+"]}}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "drop-old", 3)
	require.NoError(t, err)
	b.acts.Alive = dead
	b.rest(t, http.MethodDelete, "/api/v2/flags/shop/"+writeNew, "")
	again, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	require.Equal(t, begun.Plan.StepIndex("retire"), again.ResumeAt)
	b.rest(t, http.MethodDelete, "/api/v2/flags/shop/"+readNew, "")
	_, err = b.begin(t, "p", "run-3")
	requirePermanent(t, err, "Flag", readNew)
}
