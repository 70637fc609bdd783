package harnessserver_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/harness/ff-golang-server-sdk/rest"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

func (b bundle) targets(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	return b.do(t, method, "/gateway/cf/admin/targets"+path, body, http.Header{"X-Api-Key": {apiKey}})
}

func newTarget(identifier string) string {
	return `{"identifier": "` + identifier + `", "name": "n", "anonymous": false, "attributes": {}, "account": "account", "org": "default", "project": "shop",
		"environment": "production"}`
}

func TestTargetsAreMadeByTheAPIByGroupsAndBySDKs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	exists := func(identifier string) bool {
		status, _ := b.targets(t, http.MethodGet, "/"+identifier+scope, "")
		return status == http.StatusOK
	}
	require.False(t, exists("anna"))
	for _, want := range []int{http.StatusCreated, http.StatusConflict} {
		status, answer := b.targets(t, http.MethodPost, scope, newTarget("anna"))
		require.Equal(t, want, status, "%s", answer)
	}
	require.True(t, exists("anna"))
	status, _ := b.targets(t, http.MethodGet, "/anna"+strings.Replace(scope, "=production", "=staging", 1), "")
	require.Equal(t, http.StatusNotFound, status)
	for _, wrong := range []string{newTarget("ann+a"), newTarget(""), strings.Replace(newTarget("bert"), "production", "staging", 1), `{`} {
		status, _ := b.targets(t, http.MethodPost, scope, wrong)
		require.Equal(t, http.StatusBadRequest, status, wrong)
	}
	b.server.CreateSegment("beta", []string{"carl"}, []string{"dora"})
	require.True(t, exists("carl") && exists("dora"))
	header, environment := b.sdk(t)
	body, err := json.Marshal(rest.Metrics{TargetData: &[]rest.TargetData{{Identifier: "emil"}}})
	require.NoError(t, err)
	b.do(t, http.MethodPost, client+"/metrics/"+environment, string(body), header)
	require.True(t, exists("emil"))
	b.server.ForgetTargets("emil")
	require.False(t, exists("emil"))
}

func TestAPatchThatNamesAnUnknownTargetDoesWhatTheOptionsSay(t *testing.T) {
	t.Parallel()
	const names = `{"instructions": [{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["u", "nobody"]}}]}`
	for unknown, want := range map[harnessserver.UnknownTargets]struct{ status, named int }{
		harnessserver.RefuseUnknown: {http.StatusNotFound, 0}, harnessserver.LeaveOutUnknown: {http.StatusOK, 1}, harnessserver.TakeUnknown: {http.StatusOK, 2},
	} {
		b := setupWith(t, harnessserver.Options{UnknownTargets: unknown})
		b.server.CreateFlag("flag")
		status, answer := b.admin(t, http.MethodPatch, "/flag"+scope, names)
		require.Equal(t, want.status, status, "%s", answer)
		named := 0
		flag, _ := b.server.Snapshot("flag")
		for _, m := range flag.EnvProperties.VariationMap {
			named += len(m.Targets)
		}
		require.Equal(t, want.named, named, unknown)
	}
}

func TestRightsAreTakenAway(t *testing.T) {
	t.Parallel()
	for right, request := range map[string][3]string{
		"ff_featureflag_view":   {http.MethodGet, admin + "/flag"},
		"ff_featureflag_toggle": {http.MethodPatch, admin + "/flag", `{"instructions": [{"kind": "setFeatureFlagState", "parameters": {"state": "on"}}]}`},
		"ff_featureflag_edit":   {http.MethodPatch, admin + "/flag", `{"instructions": [{"kind": "updateOffVariation", "parameters": {"variation": "true"}}]}`},
		"ff_featureflag_delete": {http.MethodDelete, admin + "/flag"},
		"ff_targetgroup_view":   {http.MethodGet, "/gateway/cf/admin/segments/beta"},
		"ff_targetgroup_edit":   {http.MethodPost, "/gateway/cf/admin/targets", newTarget("anna")},
		"core_environment_view": {http.MethodGet, "/gateway/ng/api/environmentsV2"},
	} {
		b := setup(t)
		b.server.CreateFlag("flag")
		b.server.CreateSegment("beta", nil, nil)
		for _, other := range []string{"ff_featureflag_view", "ff_featureflag_toggle", "ff_featureflag_edit", "ff_featureflag_delete",
			"ff_targetgroup_view", "ff_targetgroup_edit", "core_environment_view"} {
			if other != right {
				b.server.Deny(other)
			}
		}
		header := http.Header{"X-Api-Key": {apiKey}}
		status, answer := b.do(t, request[0], request[1]+scope, request[2], header)
		require.Equal(t, 2, status/100, "%s %s", right, answer)
		b.server.Deny(right)
		status, _ = b.do(t, request[0], request[1]+scope, request[2], header)
		require.Equal(t, http.StatusForbidden, status, right)
	}
}
