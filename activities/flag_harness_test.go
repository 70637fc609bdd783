package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
	"github.com/contraflow/contraflow/plan"
)

// begunOnHarness is the shop whose flags Harness holds.
func begunOnHarness(t *testing.T) (*bundle, Begun, *harnessserver.Server) {
	t.Helper()
	b := setup(t)
	server := harnessserver.New(harnessserver.Options{Project: "shop", APIKey: apiToken, SDKKey: sdkKey})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = server.Close() })
	for _, key := range []string{writeNew, readNew} {
		server.CreateFlag(key)
	}
	provider, err := harness.New(harness.Config{APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: apiToken, SDKKey: sdkKey,
		Account: "account", Organization: "default", Project: "shop", Environment: "production"})
	require.NoError(t, err)
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return provider, nil }
	begun, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err)
	return b, begun, server
}

func onHarness(t *testing.T, server *harnessserver.Server, key string) harnessserver.Feature {
	t.Helper()
	feature, ok := server.Snapshot(key)
	require.True(t, ok)
	feature.ModifiedAt, feature.EnvProperties.ModifiedAt, feature.EnvProperties.Version = 0, 0, 0
	return feature
}

func TestStagesRiseAndAreRestoredOnHarness(t *testing.T) {
	t.Parallel()
	b, begun, server := begunOnHarness(t)
	before := onHarness(t, server, writeNew)
	for _, percent := range []int{10, 50, 100} {
		for range 2 { // an attempt whose answer was lost
			now, err := b.apply(t, begun.flag("write-new", writeNew, percent))
			require.NoError(t, err)
			require.Contains(t, now.Summary, "on: ")
		}
	}
	require.Equal(t, harnessserver.Serve{Variation: "true"}, onHarness(t, server, writeNew).EnvProperties.DefaultServe)
	require.Len(t, server.Comments(writeNew), 3)
	require.Contains(t, server.Comments(writeNew)[0], "write-new")
	require.Equal(t, 3, one[int](t, b, "select count(*)::int from contraflow.audit where event = 'flag'"))
	for range 2 {
		_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
		require.NoError(t, err)
		require.Equal(t, before, onHarness(t, server, writeNew))
	}
}

func TestRetiredFlagsAreArchivedOnHarness(t *testing.T) {
	t.Parallel()
	b, begun, server := begunOnHarness(t)
	_, err := b.apply(t, begun.flag("read-new", readNew, 50))
	require.NoError(t, err)
	requirePermanent(t, b.retire(t, begun.flag("retire", readNew, 0)), "Flag", readNew, "finish its rollout first")
	_, err = b.apply(t, begun.flag("read-new", readNew, 100))
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, b.retire(t, begun.flag("retire", readNew, 0)))
		require.True(t, onHarness(t, server, readNew).Archived)
	}
}

func TestAFlagThatAPipelineChangesFailsThePlanAtItsStart(t *testing.T) {
	t.Parallel()
	b, _, server := begunOnHarness(t)
	server.RunPipeline("execution-7")
	_, err := b.begin(t, shopPlan, "run-2")
	require.ErrorContains(t, err, "take the pipeline off the flag")
}
