package activities

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
	"github.com/contraflow/contraflow/plan"
)

// link makes a symbolic link in the plan root.
func (b *bundle) link(t *testing.T, to, name string) {
	t.Helper()
	require.NoError(t, os.Symlink(to, filepath.Join(b.root, filepath.FromSlash(name))))
}

// uses notes that a plan has moved a flag, as its flag step does.
func (b *bundle) uses(t *testing.T, plan, key string) {
	t.Helper()
	l := b.acts.Databases["shop"].ledger
	require.NoError(t, l.UseFlag(t.Context(), plan, ledger.Holder{Migration: "m", FirstRun: "run-1"}, ledger.Scope{Project: "shop", Environment: "production"}, key))
}

func (b *bundle) unretired(t *testing.T) int {
	t.Helper()
	return one[int](t, b, "select count(*)::int from contraflow.flag_use where retired_at is null")
}

func TestARetiredFlagIsNotedForEveryPlan(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 100)
	b.uses(t, begun.Plan.Name, writeNew)
	b.uses(t, "another plan", writeNew)
	b.uses(t, begun.Plan.Name, readNew)
	require.NoError(t, b.retire(t, begun.flag("retire", writeNew, 0)))
	require.Equal(t, readNew, one[string](t, b, "select string_agg(flag_key, ' ') from contraflow.flag_use where retired_at is null"))
}

func TestAnAttemptThatDiedBehindTheArchivingIsFinished(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 100)
	b.uses(t, begun.Plan.Name, writeNew)
	b.exec(t, "alter table contraflow.flag_use rename to away") // the attempt can't write behind the archiving
	err := b.retire(t, begun.flag("retire", writeNew, 0))
	require.ErrorContains(t, err, "is retired")
	flag, _ := b.flagd.Snapshot(writeNew)
	require.True(t, flag.Archived)
	b.exec(t, "alter table contraflow.away rename to flag_use")
	require.Equal(t, 1, b.unretired(t))
	require.NoError(t, b.retire(t, begun.flag("retire", writeNew, 0)))
	require.Zero(t, b.unretired(t))
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag archived'"))
}

func TestWhatAPersonHasSeenDoesNotKeepAFlag(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 50)
	in := begun.flag("retire", writeNew, 0)
	requirePermanent(t, b.retire(t, in), "InUse", "still serves both values")
	in.Force = true
	require.NoError(t, b.retire(t, in))
	flag, _ := b.flagd.Snapshot(writeNew)
	require.True(t, flag.Archived)
}

func TestThePlansOwnerIsKeptWithItsClaim(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	require.Equal(t, "customers-team", begun.Plan.Owner)
	require.Equal(t, "customers-team", one[string](t, b, "select owner from contraflow.migration"))
}

func TestAMigrationFlagBetweenStagesIsKept(t *testing.T) {
	t.Parallel()
	const key = "customers-store"
	b, begun := begunShop(t)
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	require.NoError(t, provider.(flags.Creator).Create(t.Context(), key, flags.NewFlag{Migration: true}))
	_, err = provider.Apply(t.Context(), key, flags.Change{Stage: flags.StageLive}, "a person", nil)
	require.NoError(t, err)
	b.instruct(t, key, `{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"`+b.variation(t, key, 3)+`": 50000, "`+b.variation(t, key, 5)+`": 50000}}`)
	in := begun.flag("retire", key, 0)
	requirePermanent(t, b.retire(t, in), "InUse", key, "it still serves several stages", "finish its rollout")

	_, err = provider.Apply(t.Context(), key, flags.Change{Stage: flags.StageComplete}, "a person", nil)
	require.NoError(t, err)
	require.NoError(t, b.retire(t, in))
}

func TestAKilledFlagIsNotArchived(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 0) // as the switch has left it: one value for everybody
	in := begun.flag("retire", writeNew, 0)
	ids := b.pressed(t, "run-1", "", writeNew)
	requirePermanent(t, b.retire(t, in), "Killed", "the kill switch was pressed", writeNew, "resume")
	flag, _ := b.flagd.Snapshot(writeNew)
	require.False(t, flag.Archived)
	require.False(t, b.marked(t))
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'archiving flag'"))

	in.Kills = ids[0]
	require.NoError(t, b.retire(t, in), "resumed from")
	require.True(t, b.marked(t))
	b.pressed(t, "run-1", "", readNew)
	require.NoError(t, b.retire(t, in), "archived is archived")
}

func TestARunThatHoldsThePlanNoMoreArchivesNothing(t *testing.T) {
	t.Parallel()
	for title, sql := range map[string]string{
		"another holds it": "update contraflow.migration set first_run = 'another'",
		"it rolls back":    "update contraflow.migration set undoing = true",
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			b.serve(t, writeNew, 100)
			b.exec(t, sql)
			requirePermanent(t, b.retire(t, begun.flag("retire", writeNew, 0)), "Superseded")
			flag, _ := b.flagd.Snapshot(writeNew)
			require.False(t, flag.Archived)
			require.False(t, b.marked(t))
		})
	}
}

// A flag that was archived has done its work, also when somebody deletes it before the plan is through.
func TestARunGoesOnBehindFlagsThatAreArchivedAndGone(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		step  string // of the flag
		force bool   // as it is gone before it is archived
	}{
		"deleted behind the archiving":  {"flag: {key: made-new}", false},
		"gone before it":                {"flag: {key: made-new}", true},
		"and not made by the next run":  {"flag: {key: made-new, create: {}}", false},
		"which a person has found gone": {"flag: {key: made-new, create: {}}", true},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.only(t, "  - {name: on, "+c.step+"}\n  - {name: away, retire: {flags: [made-new, "+readNew+"]}}\n")
			require.NoError(t, b.flagd.CreateFlag("made-new"))
			b.serve(t, "made-new", 100)
			begun, err := b.begin(t, "p", "run-1")
			require.NoError(t, err)
			remove := func() { b.rest(t, "DELETE", "/api/v2/flags/shop/made-new", "") }
			if c.force {
				remove()
			}
			in := FlagInput{Origin: begun.origin("away"), Scope: scope, Key: "made-new", Force: c.force}
			require.NoError(t, b.retire(t, in))
			if !c.force {
				remove()
			}
			b.acts.Alive = dead
			again, err := b.begin(t, "p", "run-2")
			require.NoError(t, err)
			require.Equal(t, 1, again.ResumeAt)
			in.Origin.FirstRun, in.Force = "run-2", false
			require.NoError(t, b.retire(t, in))
			_, err = b.mayRetire(t, RetireInput{Origin: in.Origin, Scope: scope, Retire: plan.Retire{Flags: []string{"made-new"}}}, call{})
			require.NoError(t, err)
		})
	}
}
