package activities

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/ledger"
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
	requirePermanent(t, b.retire(t, in), "Flag", "still serves both values")
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
	requirePermanent(t, b.retire(t, in), "Flag", key, "it still serves several stages", "finish its rollout")

	_, err = provider.Apply(t.Context(), key, flags.Change{Stage: flags.StageComplete}, "a person", nil)
	require.NoError(t, err)
	require.NoError(t, b.retire(t, in))
}
