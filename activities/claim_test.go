package activities

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/signals"
)

const shopPlan = "split-customer-address"

func dead(context.Context, string, string) (bool, error) { return false, nil }

func (b *bundle) holder(t *testing.T) string {
	t.Helper()
	return one[string](t, b, "select first_run from contraflow.migration where ended_at is null")
}

func TestAPlanIsRunByOneMigrationAtATime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var asked []string
	b.acts.Alive = func(_ context.Context, migration, firstRun string) (bool, error) {
		asked = append(asked, migration+" "+firstRun)
		return true, nil
	}
	_, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	require.Empty(t, asked)

	_, err = b.begin(t, shopPlan, "run-2")
	requirePermanent(t, err, "AlreadyRunning", "migration m", "run-1")
	require.Equal(t, []string{"m run-1"}, asked)
	require.Equal(t, "run-1", b.holder(t))

	b.acts.Alive = func(context.Context, string, string) (bool, error) { return false, errors.New("Temporal is away") }
	_, err = b.begin(t, shopPlan, "run-2")
	requireRetryable(t, err, "migration m still runs", "Temporal is away")
	require.Equal(t, "run-1", b.holder(t), "who can't be asked may be alive")

	b.acts.Alive = dead
	_, err = b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
	require.Equal(t, "run-2", b.holder(t), "a terminated migration gives the plan up")
}

// Two developers, each with a Temporal of his own, and one database: what one doesn't know isn't gone.
func TestAMigrationOnAnotherTemporalIsNotTakenForDead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		asks Home
		same bool
	}{
		"another":                        {asks: Home{Namespace: "default", Cluster: "c-2", Address: "localhost:7233 on two"}},
		"another namespace":              {asks: Home{Namespace: "other", Cluster: "c-1", Address: "localhost:7233 on one"}},
		"another, neither tells":         {asks: Home{Namespace: "default", Address: "localhost:7233 on two"}},
		"by another address":             {asks: Home{Namespace: "default", Cluster: "c-1", Address: "temporal:7233"}, same: true},
		"at its address, with no memory": {asks: Home{Namespace: "default", Cluster: "c-3", Address: "localhost:7233 on one"}, same: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.acts.Alive = dead
			b.acts.Home = func(context.Context) (Home, error) {
				return Home{Namespace: "default", Cluster: "c-1", Address: "localhost:7233 on one"}, nil
			}
			_, err := b.begin(t, shopPlan, "run-1")
			require.NoError(t, err)
			b.acts.Home = func(context.Context) (Home, error) { return c.asks, nil }
			_, err = b.begin(t, shopPlan, "run-2")
			if c.same {
				require.NoError(t, err)
				require.Equal(t, "run-2", b.holder(t))
				return
			}
			requirePermanent(t, err, "AlreadyRunning", "migration m", "namespace default of Temporal at localhost:7233 on one", "finish it or roll it back there")
			require.Equal(t, "run-1", b.holder(t))
			_, statement, found := strings.Cut(err.Error(), "run on the target database: ")
			require.True(t, found)
			statement, _, _ = strings.Cut(statement, " (type: ")
			b.exec(t, statement)
			_, err = b.begin(t, shopPlan, "run-2")
			require.NoError(t, err, "the way out")
		})
	}
	t.Run("Temporal is away", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.acts.Home = func(context.Context) (Home, error) { return Home{}, errors.New("no answer") }
		_, err := b.begin(t, shopPlan, "run-1")
		requireRetryable(t, err, "which Temporal this is")
	})
}

func TestOfTwoBeginsOneWins(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.begin(t, shopPlan, "run-0")
	require.NoError(t, err)
	b.acts.Alive = func(_ context.Context, _, firstRun string) (bool, error) { return firstRun != "run-0", nil }

	runs := []string{"run-1", "run-2"}
	errs := make([]error, len(runs))
	var both sync.WaitGroup
	for i, firstRun := range runs {
		both.Go(func() { _, errs[i] = b.begin(t, shopPlan, firstRun) })
	}
	both.Wait()
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	require.NoError(t, errs[winner])
	requirePermanent(t, errs[1-winner], "AlreadyRunning", runs[winner])
	require.Equal(t, runs[winner], b.holder(t))
}

func TestAFailingBeginLeavesTheClaimAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	b.acts.Alive = dead
	b.remove(t, "shop/migrations/000002_add_street.down.sql")
	_, err = b.begin(t, shopPlan, "run-2")
	requirePermanent(t, err, "SQLFiles")
	require.Equal(t, "run-1", b.holder(t))
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit"))
}

func (b *bundle) finish(t *testing.T, begun Begun, outcome signals.State) {
	t.Helper()
	_, err := run[any](t, b, b.acts.Finish, FinishInput{Origin: begun.origin(""), Outcome: outcome, Detail: "why"}, call{})
	require.NoError(t, err)
}

func (b *bundle) migrate(t *testing.T, begun Begun, step string, to uint) (Migrated, error) {
	t.Helper()
	return b.migrateAs(t, "run-1", begun, step, to)
}

func (b *bundle) migrateAs(t *testing.T, firstRun string, begun Begun, step string, to uint) (Migrated, error) {
	t.Helper()
	o := begun.origin(step)
	o.FirstRun = firstRun
	return run[Migrated](t, b, b.acts.Migrate, MigrateInput{Origin: o, Schema: begun.Schema, To: to}, call{})
}

func TestFinishGivesThePlanBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.finish(t, begun, signals.Failed)
	require.Equal(t, 2, one[int](t, b, "select count(*)::int from contraflow.ddl_version"), "it will be gone on with")
	_, err = b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	b.finish(t, begun, signals.RolledBack)
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.ddl_version"))
	b.finish(t, begun, signals.RolledBack) // an attempt whose answer was lost
	require.Equal(t, "rolled_back why", one[string](t, b, "select event || ' ' || detail from contraflow.audit where event = 'rolled_back'"))
}

func TestAPlanGoesOnBehindItsPointOfNoReturn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.acts.Alive = dead

	before, err := b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
	require.Zero(t, before.ResumeAt, "a reversible step is looked at again")

	_, err = b.migrateAs(t, "run-1", begun, "drop-old", 3)
	requirePermanent(t, err, "Superseded", "comes too late and changed nothing")
	_, err = b.migrateAs(t, "run-2", begun, "drop-old", 3)
	require.NoError(t, err)
	b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`) // retire was under way
	behind, err := b.begin(t, shopPlan, "run-3")
	require.NoError(t, err)
	require.Equal(t, behind.Plan.StepIndex("drop-old")+1, behind.ResumeAt)

	b.finish(t, Begun{Plan: begun.Plan, Hash: begun.Hash}, signals.Completed) // of a run that doesn't hold the plan any more
	require.Equal(t, "run-3", b.holder(t))
	require.Equal(t, 3, one[int](t, b, "select count(*)::int from contraflow.ddl_version"))
}

// TestARunThatBeginsAtItsFirstStepCanBeSwitchedOff because a drop may wait for its locks for hours with the mark set, and be lost there.
func TestARunThatBeginsAtItsFirstStepCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	l := b.acts.Databases["shop"].ledger
	require.NoError(t, l.PastReturn(t.Context(), begun.Plan.Name, begun.origin("drop-old").holder(), 0))
	b.acts.Alive = dead
	again, err := b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
	require.Zero(t, again.ResumeAt)
	_, err = l.Press(t.Context(), []ledger.Kill{{Plan: begun.Plan.Name, Migration: "m", FirstRun: "run-2", Key: writeNew}}, false)
	require.NoError(t, err)
}

func TestBeginKnowsWhatACutOffRunHasBegun(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	require.Empty(t, begun.Begun)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	_, err = b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.prepare(t, BackfillInput{Origin: begun.origin("fill"), Backfill: *begun.Plan.Steps[2].Backfill})
	b.acts.Alive = dead

	again, err := b.begin(t, shopPlan, "run-2")
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2}, again.Begun)

	b.edit(t, "shop/plan.yaml", "- name: write-new\n", "- name: write-both\n")
	_, err = b.begin(t, shopPlan, "run-3")
	requirePermanent(t, err, "BadPlan", "step write-new", "put the step back")
	require.Equal(t, "run-2", b.holder(t), "a refused plan claims nothing")
	b.edit(t, "shop/plan.yaml", "- name: write-both\n", "- name: write-new\n")
	b.edit(t, "shop/plan.yaml", writeNew, "customers-write-newer")
	require.NoError(t, b.flagd.CreateFlag("customers-write-newer"))
	_, err = b.begin(t, shopPlan, "run-3")
	requirePermanent(t, err, "BadPlan", "flag "+writeNew, "step write-new", "now names flag customers-write-newer", "put the key back")
	require.Equal(t, "run-2", b.holder(t))
}

func TestACompletedPlanIsNotRunAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "drop-old", 3)
	require.NoError(t, err)
	b.finish(t, begun, signals.Completed)
	_, err = b.begin(t, shopPlan, "run-2")
	requirePermanent(t, err, "SchemaVersion", "version 3, behind the irreversible step drop-old", "completed")
	require.Equal(t, "completed", one[string](t, b, "select outcome from contraflow.migration"))
}

func TestAStrangersDropIsNotTakenForThePlans(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	_, err = b.migrate(t, begun, "expand", 2)
	require.NoError(t, err)
	b.exec(t, "alter table customers drop column address; update schema_migrations set version = 3") // golang-migrate up
	b.acts.Alive = dead
	_, err = b.begin(t, shopPlan, "run-2")
	requirePermanent(t, err, "SchemaVersion", "somebody else migrated")
	require.Equal(t, "run-1", b.holder(t))
}

func TestWhatPeopleSaidIsAudited(t *testing.T) {
	t.Parallel()
	b := setup(t)
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	in := AuditInput{Origin: begun.origin(""), Events: []AuditEvent{{Key: "1", Event: "approve", Step: "cutover", Actor: "alice", Detail: "go"}}}
	for range 2 {
		_, err = run[any](t, b, b.acts.Audit, in, call{})
		require.NoError(t, err)
	}
	require.Equal(t, "approve cutover alice go", one[string](t, b, "select event || ' ' || step || ' ' || actor || ' ' || detail from contraflow.audit where actor <> ''"))
}
