package activities

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/flagserver"
	"github.com/contraflow/contraflow/plan"
)

var scope = plan.FlagScope{Project: "shop", Environment: "production"}

func (g Begun) flag(step, key string, percent int) FlagInput {
	return FlagInput{Origin: g.origin(step), Scope: scope, Key: key, Percent: percent}
}

func (b *bundle) apply(t *testing.T, in FlagInput) (FlagNow, error) {
	t.Helper()
	return run[FlagNow](t, b, b.acts.ApplyFlag, in, call{})
}

func (b *bundle) restore(t *testing.T, in FlagInput) (FlagNow, error) {
	t.Helper()
	return run[FlagNow](t, b, b.acts.RestoreFlag, in, call{})
}

func (b *bundle) retire(t *testing.T, in FlagInput) error {
	t.Helper()
	_, err := run[any](t, b, b.acts.RetireFlag, in, call{})
	return err
}

// configuration of a flag without what rises with every change.
func (b *bundle) configuration(t *testing.T, key string) flagserver.Environment {
	t.Helper()
	flag, ok := b.flagd.Snapshot(key)
	require.True(t, ok)
	e := *flag.Environments["production"]
	e.Version, e.LastModified = 0, 0
	return e
}

// percent that a flag serves true; -1 when it is off.
func (b *bundle) percent(t *testing.T, key string) int {
	t.Helper()
	e := b.configuration(t, key)
	switch {
	case !e.On:
		return -1
	case e.Fallthrough.Rollout != nil:
		return e.Fallthrough.Rollout.Variations[0].Weight / 1000
	case *e.Fallthrough.Variation == 0:
		return 100
	}
	return 0
}

// serve makes a flag serve true to some percent, as a person does in the flag service.
func (b *bundle) serve(t *testing.T, key string, percent int) {
	t.Helper()
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	_, err = provider.Apply(t.Context(), key, changeTo(percent), "a person", nil)
	require.NoError(t, err)
}

func TestStagesRiseAndAreRestoredExactly(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.patch(t, writeNew, `{"environmentKey": "production", "instructions": [{"kind": "addRule", "variationId": "`+b.variation(t, writeNew, 0)+`",
		"clauses": [{"contextKind": "user", "attribute": "email", "op": "endsWith", "values": ["S3CRET@example.com"], "negate": false}]}]}`)
	before := b.configuration(t, writeNew)
	for _, percent := range []int{10, 50, 100} {
		for range 2 { // an attempt whose answer was lost
			now, err := b.apply(t, begun.flag("write-new", writeNew, percent))
			require.NoError(t, err)
			require.Contains(t, now.Summary, "on: ")
			require.Equal(t, percent, b.percent(t, writeNew))
		}
	}
	require.Equal(t, 3, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag'"))
	for range 2 {
		_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
		require.NoError(t, err)
		require.Equal(t, before, b.configuration(t, writeNew))
	}
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag restored'"))
}

func TestAStageNeverLowersAFlag(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 60)
	before := b.configuration(t, writeNew)
	for _, stage := range []struct{ wanted, served int }{{10, 60}, {50, 60}, {60, 60}, {100, 100}} {
		_, err := b.apply(t, begun.flag("write-new", writeNew, stage.wanted))
		require.NoError(t, err)
		require.Equal(t, stage.served, b.percent(t, writeNew))
	}
	_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, before, b.configuration(t, writeNew), "60 % again, not off")
}

func TestAStageDoesNotTakeAFlagFromAnybody(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 50) // by user
	before := b.configuration(t, writeNew)
	in := begun.flag("write-new", writeNew, 50)
	in.ContextKind = "account"
	for _, percent := range []int{50, 75} {
		in.Percent = percent
		_, err := b.apply(t, in)
		requirePermanent(t, err, "Flag", writeNew, "50 %", "by user, not by account", "the same contextKind")
	}
	require.Equal(t, before, b.configuration(t, writeNew))
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
	in.Percent = 100
	_, err := b.apply(t, in)
	require.NoError(t, err, "everybody is everybody by any kind")
	require.Equal(t, 100, b.percent(t, writeNew))
}

func TestAStrangersChangeIsNeitherBuiltOnNorOverwritten(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.serve(t, writeNew, 33)
	_, err = b.apply(t, begun.flag("write-new", writeNew, 50))
	requirePermanent(t, err, "Stranger", writeNew, "changed by someone else (the default rule serves something else)",
		`this migration left it "on: 10 % true"`, `it is "on: 33 % true" now`)
	require.Equal(t, 33, b.percent(t, writeNew))
	b.serve(t, writeNew, 10) // a person puts it back
	_, err = b.apply(t, begun.flag("write-new", writeNew, 50))
	require.NoError(t, err)

	b.serve(t, writeNew, 33)
	for range 2 {
		_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
		requirePermanent(t, err, "Stranger", writeNew, "changed by someone else (the default rule serves something else)",
			`this migration left it "on: 50 % true"`, `it is "on: 33 % true" now`)
		require.Equal(t, 33, b.percent(t, writeNew))
	}
	b.serve(t, writeNew, 10) // which this migration had left it at, too
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, -1, b.percent(t, writeNew))
}

func TestAFlagThatWasPutBackByHandIsRestored(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.patch(t, writeNew, `{"environmentKey": "production", "instructions": [{"kind": "turnFlagOff"},
		{"kind": "updateFallthroughVariationOrRollout", "variationId": "`+b.variation(t, writeNew, 0)+`"}]}`)
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
}

func TestAFlagThatIsGoneIsNotTakenForRestored(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.rest(t, http.MethodDelete, "/api/v2/flags/shop/"+writeNew, "")
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	requirePermanent(t, err, "Flag", writeNew, `was "off" and is gone`, "retry; or skip")
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.flag_record"), "the record stays")

	require.NoError(t, b.flagd.CreateFlag(writeNew)) // the person makes it again, as the error says
	_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Zero(t, one[int](t, b, "select count(*)::int from contraflow.flag_record"))
}

func TestAFlagThatWasArchivedMeanwhileIsNotRestored(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
	require.NoError(t, err)
	b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`)
	for range 2 {
		_, err = b.restore(t, begun.flag("write-new", writeNew, 0))
		requirePermanent(t, err, "Stranger", writeNew, "changed by someone else (it was archived)", `this migration left it "on: 10 % true"; it is "archived" now`)
	}
	flag, _ := b.flagd.Snapshot(writeNew)
	require.True(t, flag.Archived)
}

func TestTwoStepsOnOneFlagRestoreToTheStateBeforeEach(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	_, err := b.apply(t, begun.flag("some", writeNew, 50))
	require.NoError(t, err)
	_, err = b.apply(t, begun.flag("all", writeNew, 100))
	require.NoError(t, err)
	_, err = b.restore(t, begun.flag("all", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, 50, b.percent(t, writeNew))
	_, err = b.restore(t, begun.flag("some", writeNew, 0))
	require.NoError(t, err)
	require.Equal(t, -1, b.percent(t, writeNew))
}

func TestAnEarlierStepFindsTheFlagOfALaterOneAsItsOwn(t *testing.T) {
	t.Parallel()
	for title, again := range map[string]bool{"and goes on": true, "and is undone at once": false} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, begun := begunShop(t)
			_, err := b.apply(t, begun.flag("some", writeNew, 50))
			require.NoError(t, err)
			_, err = b.apply(t, begun.flag("all", writeNew, 100))
			require.NoError(t, err)
			// The migration is terminated here and started again: from its first step.
			if again {
				_, err = b.apply(t, begun.flag("some", writeNew, 50))
				require.NoError(t, err)
				require.Equal(t, 100, b.percent(t, writeNew))
			}
			_, err = b.restore(t, begun.flag("some", writeNew, 0))
			require.NoError(t, err)
			require.Equal(t, -1, b.percent(t, writeNew))
		})
	}
}

func TestAFlagThatWasNeverReachedNeedsNoRestoring(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, readNew, 20)
	_, err := b.apply(t, begun.flag("read-new", "deleted-meanwhile", 10))
	requirePermanent(t, err, "Flag", "deleted-meanwhile")
	_, err = b.restore(t, begun.flag("read-new", readNew, 0))
	require.NoError(t, err)
	require.Equal(t, 20, b.percent(t, readNew))
	_, err = b.restore(t, begun.flag("read-new", "deleted-meanwhile", 0))
	require.NoError(t, err, "its step failed before it could change it")
}

func TestAnArchivedFlagIsNotTakenForServed(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 100)
	b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`)
	_, err := b.apply(t, begun.flag("write-new", writeNew, 50))
	requirePermanent(t, err, "Flag", "archived")
}

func TestRetireArchivesOnce(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.serve(t, writeNew, 50)
	requirePermanent(t, b.retire(t, begun.flag("retire", writeNew, 0)), "InUse", "still serves both values", "finish its rollout")
	flag, _ := b.flagd.Snapshot(writeNew)
	require.False(t, flag.Archived)

	b.serve(t, writeNew, 100)
	for range 2 {
		require.NoError(t, b.retire(t, begun.flag("retire", writeNew, 0)))
		flag, _ = b.flagd.Snapshot(writeNew)
		require.True(t, flag.Archived)
	}
	require.Equal(t, 1, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag archived'"))
}

func (b *bundle) variation(t *testing.T, key string, i int) string {
	t.Helper()
	flag, ok := b.flagd.Snapshot(key)
	require.True(t, ok)
	return flag.Variations[i].ID
}
