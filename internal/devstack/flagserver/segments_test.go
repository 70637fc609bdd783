package flagserver_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldmigration"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/stretchr/testify/require"
)

func TestSegmentsAreEvaluatedByTheSDK(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.server.PutSegment("beta", map[string][]string{"user": {"anna"}, "device": {"phone"}}))
	yes, no := b.snapshot(t).Variations[0].ID, b.snapshot(t).Variations[1].ID
	status, answer := b.patch(t, strings.NewReplacer("YES", yes, "NO", no).Replace(`{"kind": "turnFlagOn"},
		{"kind": "updateFallthroughVariationOrRollout", "variationId": "NO"},
		{"kind": "addRule", "variationId": "YES", "clauses": [{"attribute": "segmentMatch", "op": "segmentMatch", "values": ["beta"]}]}`))
	require.Equal(t, http.StatusOK, status, answer)
	client := b.client(t, ld.Config{Events: ldcomponents.NoEvents()})
	member := func(context ldcontext.Context) bool {
		value, err := client.BoolVariation("new-page", context, false)
		require.NoError(t, err)
		return value
	}
	require.True(t, member(ldcontext.New("anna")))
	require.True(t, member(ldcontext.NewWithKind("device", "phone")))
	require.False(t, member(ldcontext.NewWithKind("device", "anna")))
	require.NoError(t, b.server.PutSegment("beta", map[string][]string{"user": {"bert"}}))
	require.Eventually(t, func() bool { return member(ldcontext.New("bert")) && !member(ldcontext.New("anna")) }, patience, poll, "over the stream")

	status, _, _ = b.rest(t, http.MethodGet, "/api/v2/segments/shop/production/none", "")
	require.Equal(t, http.StatusNotFound, status)
	for _, want := range []int{http.StatusCreated, http.StatusConflict} {
		status, _, _ = b.rest(t, http.MethodPost, "/api/v2/segments/shop/production", `{"key": "made", "name": "Made"}`)
		require.Equal(t, want, status)
	}
}

func TestMigrationFlagsAreServedAndGuarded(t *testing.T) {
	t.Parallel()
	b := setup(t)
	migrating(t, &b)
	flag, _ := b.server.Snapshot("staged")
	replace := func(text string) string {
		return strings.NewReplacer("OFF", flag.Variations[0].ID, "LIVE", flag.Variations[3].ID).Replace(text)
	}
	patch := func(instruction string) int {
		status, _, _ := b.rest(t, http.MethodPatch, "/api/v2/flags/shop/staged",
			`{"environmentKey": "production", "instructions": [`+replace(instruction)+`]}`)
		return status
	}
	for _, refused := range []string{
		`{"kind": "updateFallthroughVariationOrRollout", "variationId": "LIVE"}`,
		`{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"LIVE": 100000}}`,
		`{"kind": "updateOffVariation", "variationId": "LIVE"}`,
		`{"kind": "addTargets", "contextKind": "device", "values": ["phone"], "variationId": "LIVE"}`,
		`{"kind": "replaceTargets", "targets": [{"contextKind": "device", "values": ["phone"], "variationId": "LIVE"}]}`,
		`{"kind": "addRule", "rolloutContextKind": "device", "rolloutWeights": {"LIVE": 100000},
			"clauses": [{"contextKind": "device", "attribute": "segmentMatch", "op": "segmentMatch", "values": ["beta"]}]}`,
		`{"kind": "addRule", "rolloutContextKind": "device", "rolloutWeights": {"LIVE": 100000},
			"clauses": [{"contextKind": "user", "attribute": "key", "op": "in", "values": ["anna"]}]}`,
		`{"kind": "replaceRules", "rules": [{"variationId": "LIVE", "clauses": [{"contextKind": "device", "attribute": "key", "op": "in", "values": ["phone"]}]}]}`,
	} {
		require.Equal(t, http.StatusBadRequest, patch(refused), refused)
	}
	after, _ := b.server.Snapshot("staged")
	require.Equal(t, flag, after)
	require.Equal(t, http.StatusOK, patch(`{"kind": "turnFlagOn"}, {"kind": "updateOffVariation", "variationId": "OFF"},
		{"kind": "replaceTargets", "targets": []},
		{"kind": "updateFallthroughVariationOrRollout", "rolloutContextKind": "device", "rolloutWeights": {"LIVE": 100000, "OFF": 0}}`))
	client := b.client(t, ld.Config{Events: ldcomponents.NoEvents()})
	for key, want := range map[string]ldmigration.Stage{"phone": ldmigration.Shadow, "tablet": ldmigration.Live} {
		stage, _, err := client.MigrationVariation("staged", ldcontext.NewWithKind("device", key), ldmigration.Off)
		require.NoError(t, err)
		require.Equal(t, want, stage)
	}
	_, answer, _ := b.rest(t, http.MethodGet, "/api/v2/flags/shop/staged", "")
	require.NotContains(t, answer, "migrationSettings", "unless they are expanded")
}

func TestListsHavePagesAndSummaries(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t)
	for i := range 25 {
		require.NoError(t, b.server.CreateFlag("flag-"+string(rune('a'+i))))
	}
	page := func(query string) ([]any, map[string]any) {
		status, answer, _ := b.rest(t, http.MethodGet, "/api/v2/flags/shop"+query, "")
		require.Equal(t, http.StatusOK, status)
		require.InDelta(t, 27, answer["totalCount"], 0)
		items := answer["items"].([]any)
		full := slices.IndexFunc(items, func(item any) bool { return item.(map[string]any)["key"] == "full" })
		if full < 0 {
			return items, nil
		}
		environments, _ := items[full].(map[string]any)["environments"].(map[string]any)
		environment, _ := environments["production"].(map[string]any)
		return items, environment
	}
	items, _ := page("")
	require.Len(t, items, 20)
	items, _ = page("?offset=20")
	require.Len(t, items, 7)
	items, environment := page("?limit=100")
	require.Len(t, items, 27)
	require.Nil(t, environment, "unless one is named")
	_, environment = page("?limit=100&env=production&summary=0")
	require.Nil(t, environment, "and named twice")
	_, environment = page("?limit=100&env=production&filter=filterEnv:production")
	require.NotContains(t, environment, "prerequisites", "a summary")
	_, environment = page("?limit=100&env=production&filter=filterEnv:production&summary=0")
	require.Len(t, environment["prerequisites"], 1)
	status, _, _ := b.rest(t, http.MethodGet, "/api/v2/flags/shop?limit=many", "")
	require.Equal(t, http.StatusBadRequest, status)
}

func TestDependentFlagsAreListed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.furnish(t)
	beta(t, &b)
	_, answer, _ := b.rest(t, http.MethodGet, "/api/v2/flags/shop/production/new-page/dependent-flags", "")
	require.Len(t, answer["items"], 1)
	status, answer, _ := b.rest(t, http.MethodPatch, flagPath, `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.Equal(t, http.StatusBadRequest, status, answer)
	status, _, _ = b.rest(t, http.MethodPatch, "/api/v2/flags/shop/full", `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.Equal(t, http.StatusOK, status)
	status, _, _ = b.rest(t, http.MethodPatch, flagPath, `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.Equal(t, http.StatusOK, status, "what is archived needs nothing")
}

func TestAPendingApprovalRequestIsNotMadeImpossible(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, no := b.snapshot(t).Variations[0].ID, b.snapshot(t).Variations[1].ID
	const target = `{"kind": "addTargets", "values": ["anna"], "variationId": %q}`
	status, answer, _ := b.rest(t, http.MethodPost, "/api/v2/projects/shop/flags/new-page/environments/production/approval-requests",
		`{"description": "please", "instructions": [`+fmt.Sprintf(target, yes)+`]}`)
	require.Equal(t, http.StatusCreated, status, answer)
	status, answer = b.patch(t, fmt.Sprintf(target, no))
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, answer["message"], "would fail")
	b.patch(t, `{"kind": "turnFlagOn"}`)
	status, answer, _ = b.rest(t, http.MethodPatch, flagPath+"?ignoreConflicts=true",
		`{"environmentKey": "production", "instructions": [`+fmt.Sprintf(target, no)+`]}`)
	require.Equal(t, http.StatusOK, status, answer)
}
