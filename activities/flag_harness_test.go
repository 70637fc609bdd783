package activities

import (
	"net/http"
	"strings"
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

// patchHarness is somebody else at work.
func patchHarness(t *testing.T, server *harnessserver.Server, key, instruction string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, server.AdminURL()+"/cf/admin/features/"+key+
		"?accountIdentifier=account&orgIdentifier=default&projectIdentifier=shop&environmentIdentifier=production",
		strings.NewReader(`{"instructions": [`+instruction+`]}`))
	require.NoError(t, err)
	request.Header.Set("x-api-key", apiToken)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
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
	requirePermanent(t, b.retire(t, begun.flag("retire", readNew, 0)), "InUse", readNew, "finish its rollout first")
	_, err = b.apply(t, begun.flag("read-new", readNew, 100))
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, b.retire(t, begun.flag("retire", readNew, 0)))
		require.True(t, onHarness(t, server, readNew).Archived)
	}
}

func TestWhatIsInTheWayOfRetiringIsSaidOnHarness(t *testing.T) {
	t.Parallel()
	b, _, server := begunOnHarness(t)
	b.only(t, "  - {name: retire, retire: {flags: ["+writeNew+"]}}\n")
	begun, err := b.begin(t, "p", "run-1")
	require.NoError(t, err)
	in := RetireInput{Origin: begun.origin("retire"), Scope: scope, Retire: *begun.Plan.Steps[0].Retire}
	provider, err := b.acts.Flags(scope)
	require.NoError(t, err)
	_, err = provider.Apply(t.Context(), writeNew, flags.Change{Percent: 50}, "", nil)
	require.NoError(t, err)
	depend := func(kind string) {
		patchHarness(t, server, readNew, `{"kind": "`+kind+`", "parameters": {"feature": "`+writeNew+`", "variations": ["true"]}}`)
	}
	depend("addPrerequisite")
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "never asked for", "finish its rollout first", "is a prerequisite of "+readNew)

	server.Evaluated(writeNew)
	_, err = b.mayRetire(t, in, call{})
	requirePermanent(t, err, "InUse", "is active, asked for")
	_, err = provider.Apply(t.Context(), writeNew, flags.Change{Percent: 100}, "", nil)
	require.NoError(t, err)
	depend("removePrerequisite")
	may, err := b.mayRetire(t, in, call{})
	require.NoError(t, err)
	require.Len(t, may.Notes, 1)
	require.Contains(t, may.Notes[0], "is launched")
}

func TestAFlagThatAPipelineChangesFailsThePlanAtItsStart(t *testing.T) {
	t.Parallel()
	b, _, server := begunOnHarness(t)
	server.RunPipeline("execution-7")
	_, err := b.begin(t, shopPlan, "run-2")
	require.ErrorContains(t, err, "take the pipeline off the flag")
}

func TestGroupsThatHarnessDoesNotHaveFailThePlanAtItsStart(t *testing.T) {
	t.Parallel()
	b, _, server := begunOnHarness(t)
	b.only(t, "  - {name: write-new, flag: {key: "+writeNew+", rollout: [0, 100], segments: [beta], targets: {user: [anna]}}}\n")
	_, err := b.begin(t, "p", "run-2")
	requirePermanent(t, err, "Flag")
	require.ErrorContains(t, err, `no target group "beta"`)
	server.CreateSegment("beta", nil, nil)
	begun, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	in := begun.flag("write-new", writeNew, 0)
	in.Origin.FirstRun, in.Segments, in.Targets = "run-2", []string{"beta"}, map[string][]string{"user": {"anna"}}
	now, err := b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, "on: 0 % true, 1 target, 1 rule", now.Summary)
	in.Percent = 100
	now, err = b.apply(t, in)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true, 1 target, 1 rule", now.Summary)
}

func TestAMigrationFlagIsMadeMovedAndTurnedOffOnHarness(t *testing.T) {
	t.Parallel()
	b, _, server := begunOnHarness(t)
	b.only(t, "  - {name: move, flag: {key: move, stages: [dualwrite, complete], create: {name: Move}}}\n")
	begun, err := b.begin(t, "p", "run-2")
	require.NoError(t, err)
	in := begun.flag("move", "move", 0)
	in.Origin.FirstRun, in.Create = "run-2", begun.Plan.Steps[0].Flag.Create
	for _, stage := range []string{"dualwrite", "complete"} {
		in.Stage = stage
		now, err := b.apply(t, in)
		require.NoError(t, err)
		require.Equal(t, "on: stage "+stage, now.Summary)
	}
	_, err = b.restore(t, in)
	require.NoError(t, err)
	made := onHarness(t, server, "move")
	require.Equal(t, "Move", made.Name)
	require.Equal(t, "off", made.EnvProperties.State)
	require.Len(t, made.Variations, 6)
}
