package harnessserver_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/harness/ff-golang-server-sdk/rest"
	"github.com/harness/ff-golang-server-sdk/stream"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

const (
	apiKey = "pat.account.4711"
	sdkKey = "sdk-key-0815"
	scope  = "?accountIdentifier=account&orgIdentifier=default&projectIdentifier=shop&environmentIdentifier=production"
	admin  = "/gateway/cf/admin/features"
	client = "/api/1.0"
)

type bundle struct {
	server *harnessserver.Server
	base   string
}

func setup(t *testing.T) bundle { return setupWith(t, harnessserver.Options{}) }

func setupWith(t *testing.T, o harnessserver.Options) bundle {
	t.Helper()
	o.Project, o.APIKey, o.SDKKey = "shop", apiKey, sdkKey
	server := harnessserver.New(o)
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	server.CreateTargets("user-1", "u")
	base, _ := strings.CutSuffix(server.AdminURL(), "/gateway")
	return bundle{server, base}
}

func (b bundle) do(t *testing.T, method, path, body string, header http.Header) (int, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.base+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, answer
}

func (b bundle) admin(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	return b.do(t, method, admin+path, body, http.Header{"X-Api-Key": {apiKey}})
}

// sdk authenticates as an SDK does and returns the header and the environment's id it goes on with.
func (b bundle) sdk(t *testing.T) (http.Header, string) {
	t.Helper()
	status, answer := b.do(t, http.MethodPost, client+"/client/auth", `{"apiKey": "`+sdkKey+`"}`, http.Header{})
	require.Equal(t, http.StatusOK, status)
	var said rest.AuthenticationResponse
	strictly(t, answer, &said)
	parts := strings.Split(said.AuthToken, ".")
	require.Len(t, parts, 3)
	var claims map[string]string
	require.NoError(t, json.Unmarshal(decode(t, parts[1]), &claims))
	require.Equal(t, "1", claims["clusterIdentifier"])
	return http.Header{"Authorization": {"Bearer " + said.AuthToken}, "Api-Key": {sdkKey}}, claims["environment"]
}

// strictly decodes into a type generated from Harness's own specification and refuses what it doesn't know.
func strictly(t *testing.T, raw []byte, into any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	require.NoError(t, decoder.Decode(into), "%s", raw)
}

// shape replaces values by their kinds, so that two documents can be compared field by field.
func shape(value any) any {
	switch v := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, field := range v {
			out[key] = shape(field)
		}
		return out
	case []any:
		var out []any
		for _, item := range v {
			out = append(out, shape(item))
		}
		return out
	case string:
		return "text"
	case float64:
		return "number"
	default:
		return v
	}
}

const furnish = `{"comment": "by hand", "instructions": [
	{"kind": "setFeatureFlagState", "parameters": {"state": "on"}},
	{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations": [{"variation": "true", "weight": 25}, {"variation": "false", "weight": 75}]}},
	{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["user-1"]}},
	{"kind": "addSegmentToVariationTargetMap", "parameters": {"variation": "false", "targetSegments": ["testers"]}},
	{"kind": "addRule", "parameters": {"uuid": "a", "priority": 100, "serve": {"variation": "true"}, "clauses": [{"attribute": "identifier", "op": "ends_with", "values": ["77"]}]}}]}`

func TestAFeatureIsOfTheRecordedShape(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("recorded")
	status, answer := b.admin(t, http.MethodPatch, "/recorded"+scope, furnish)
	require.Equal(t, http.StatusOK, status, "%s", answer)
	require.JSONEq(t, `{"details": {}}`, string(answer))
	require.Equal(t, []string{"by hand"}, b.server.Comments("recorded"))

	_, answer = b.admin(t, http.MethodGet, "/recorded"+scope+"&metrics=true", "")
	recorded, err := os.ReadFile("testdata/feature.json")
	require.NoError(t, err)
	var want, got any
	require.NoError(t, json.Unmarshal(recorded, &want))
	require.NoError(t, json.Unmarshal(answer, &got))
	require.Equal(t, shape(want), shape(got))
	var feature harnessserver.Feature
	strictly(t, recorded, &feature)
	snapshot, ok := b.server.Snapshot("recorded")
	require.True(t, ok)
	require.Equal(t, feature.EnvProperties.DefaultServe, snapshot.EnvProperties.DefaultServe)
	require.Equal(t, feature.EnvProperties.VariationMap, snapshot.EnvProperties.VariationMap)
	require.Equal(t, feature.EnvProperties.Version, snapshot.EnvProperties.Version)
}

func TestInstructionsUndoEachOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	before, _ := b.server.Snapshot("flag")
	for _, patch := range []string{furnish, `{"instructions": [
		{"kind": "removeRule", "parameters": {"ruleID": "a"}},
		{"kind": "removeTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["user-1"]}},
		{"kind": "removeSegmentToVariationTargetMap", "parameters": {"variation": "false", "targetSegments": ["testers"]}},
		{"kind": "updateDefaultServe", "parameters": {"variation": "true"}},
		{"kind": "updateOffVariation", "parameters": {"variation": "false"}},
		{"kind": "setFeatureFlagState", "parameters": {"state": "off"}}]}`} {
		status, answer := b.admin(t, http.MethodPatch, "/flag"+scope, patch)
		require.Equal(t, http.StatusOK, status, "%s", answer)
	}
	after, _ := b.server.Snapshot("flag")
	require.Equal(t, 3, after.EnvProperties.Version)
	require.Equal(t, before.EnvProperties.DefaultServe, after.EnvProperties.DefaultServe)
	require.Empty(t, after.EnvProperties.Rules)
	require.Empty(t, after.EnvProperties.VariationMap[0].Targets)
	require.Empty(t, after.EnvProperties.VariationMap[0].TargetSegments)
	require.Equal(t, "off", after.EnvProperties.State)
}

func TestWhatIsWrongChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	before, _ := b.server.Snapshot("flag")
	for name, instructions := range map[string]string{
		"no instructions":       ``,
		"an unknown kind":       `{"kind": "enable", "parameters": {}}`,
		"an unknown state":      `{"kind": "setFeatureFlagState", "parameters": {"state": "maybe"}}`,
		"an unknown variation":  `{"kind": "updateOffVariation", "parameters": {"variation": "none"}}`,
		"weights that miss 100": `{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations": [{"variation": "true", "weight": 25}]}}`,
		"a rule of one uuid": `{"kind": "addRule", "parameters": {"uuid": "b", "serve": {"variation": "true"}, "clauses": [{"op": "in", "values": []}]}},
			{"kind": "addRule", "parameters": {"uuid": "b", "serve": {"variation": "true"}, "clauses": [{"op": "in", "values": []}]}}`,
		"an order of some":      `{"kind": "reorderRules", "parameters": {"rules": ["none"]}}`,
		"no prerequisite":       `{"kind": "addPrerequisite", "parameters": {"feature": "flag", "variations": []}}`,
		"a rule without clause": `{"kind": "addRule", "parameters": {"uuid": "a", "serve": {"variation": "true"}, "clauses": []}}`,
		"a wrong second one":    `{"kind": "setFeatureFlagState", "parameters": {"state": "on"}}, {"kind": "enable", "parameters": {}}`,
		"a target served two": `{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["u"]}},
			{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["u"]}}`,
	} {
		status, answer := b.admin(t, http.MethodPatch, "/flag"+scope, `{"instructions": [`+instructions+`]}`)
		require.Equal(t, http.StatusBadRequest, status, name)
		var refusal rest.Error
		strictly(t, answer, &refusal)
		require.NotEmpty(t, refusal.Message, name)
		after, _ := b.server.Snapshot("flag")
		require.Equal(t, before, after, name)
	}
}

func TestScopeAndKeysAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	status, _ := b.do(t, http.MethodGet, admin+"/flag"+scope, "", http.Header{"X-Api-Key": {"other"}})
	require.Equal(t, http.StatusUnauthorized, status)
	for query, want := range map[string]int{
		scope: http.StatusOK,
		strings.Replace(scope, "=account", "=other", 1): http.StatusForbidden,
		strings.Replace(scope, "=default", "=other", 1): http.StatusForbidden,
		strings.Replace(scope, "=shop", "=other", 1):    http.StatusNotFound,
	} {
		status, _ := b.admin(t, http.MethodGet, "/flag"+query, "")
		require.Equal(t, want, status, query)
	}
	status, _ = b.do(t, http.MethodPost, client+"/client/auth", `{"apiKey": "other"}`, http.Header{})
	require.Equal(t, http.StatusUnauthorized, status)
	header, environment := b.sdk(t)
	status, _ = b.do(t, http.MethodGet, client+"/client/env/other/feature-configs", "", header)
	require.Equal(t, http.StatusForbidden, status)
	status, _ = b.do(t, http.MethodGet, client+"/client/env/"+environment+"/feature-configs", "", http.Header{})
	require.Equal(t, http.StatusUnauthorized, status)
}

func TestSDKsAreToldWhatTheirSpecificationSays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	b.admin(t, http.MethodPatch, "/flag"+scope, furnish)
	header, environment := b.sdk(t)
	path := client + "/client/env/" + environment
	_, answer := b.do(t, http.MethodGet, path+"/feature-configs?cluster=1", "", header)
	var all []rest.FeatureConfig
	strictly(t, answer, &all)
	require.Len(t, all, 1)
	_, answer = b.do(t, http.MethodGet, path+"/feature-configs/flag?cluster=1", "", header)
	var one rest.FeatureConfig
	strictly(t, answer, &one)
	require.Equal(t, all[0], one)
	require.Equal(t, rest.FeatureStateOn, one.State)
	require.EqualValues(t, 2, *one.Version)
	require.Equal(t, "production", one.Environment)
	_, answer = b.do(t, http.MethodGet, path+"/target-segments?cluster=1&rules=v2", "", header)
	require.JSONEq(t, `[]`, string(answer))
	b.server.CreateSegment("beta", []string{"anna"}, []string{"bert"})
	_, answer = b.do(t, http.MethodGet, path+"/target-segments?cluster=1&rules=v2", "", header)
	var groups []rest.Segment
	strictly(t, answer, &groups)
	require.Len(t, groups, 1)
	_, answer = b.do(t, http.MethodGet, path+"/target-segments/beta?cluster=1&rules=v2", "", header)
	var group rest.Segment
	strictly(t, answer, &group)
	require.Equal(t, groups[0], group)
	require.Equal(t, "anna", (*group.Included)[0].Identifier)
	require.Equal(t, "bert", (*group.Excluded)[0].Identifier)
	status, _ := b.do(t, http.MethodGet, path+"/feature-configs/none", "", header)
	require.Equal(t, http.StatusNotFound, status)
}

func TestStreamTellsWhatChanged(t *testing.T) {
	t.Parallel()
	b := setup(t)
	header, _ := b.sdk(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+client+"/stream?cluster=1", nil)
	require.NoError(t, err)
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { response.Body.Close() })
	require.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	lines := bufio.NewScanner(response.Body)
	require.True(t, lines.Scan())
	require.Equal(t, ":", lines.Text(), "a heartbeat at once")
	now, ever := b.server.Streams()
	require.Equal(t, [2]int{1, 1}, [2]int{now, ever})

	b.server.CreateFlag("flag")
	b.admin(t, http.MethodPatch, "/flag"+scope, furnish)
	status, _ := b.admin(t, http.MethodDelete, "/flag"+scope+"&forceDelete=false", "")
	require.Equal(t, http.StatusNoContent, status)
	var told []stream.Message
	for len(told) < 3 && lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var message stream.Message
			strictly(t, []byte(data), &message)
			told = append(told, message)
		}
	}
	require.Equal(t, []stream.Message{
		{Event: "create", Domain: "flag", Identifier: "flag", Version: 1},
		{Event: "patch", Domain: "flag", Identifier: "flag", Version: 2},
		{Event: "delete", Domain: "flag", Identifier: "flag", Version: 3},
	}, told)
}

func TestArchivedFlagsAreShownToThoseWhoAsk(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("kept")
	b.server.CreateFlag("lost")
	for flag, force := range map[string]string{"kept": "false", "lost": "true"} {
		status, _ := b.admin(t, http.MethodDelete, "/"+flag+scope+"&forceDelete="+force, "")
		require.Equal(t, http.StatusNoContent, status)
		status, _ = b.admin(t, http.MethodGet, "/"+flag+scope, "")
		require.Equal(t, http.StatusNotFound, status)
	}
	status, answer := b.admin(t, http.MethodGet, "/kept"+scope+"&archived=true", "")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, string(answer), `"archived":true`)
	status, _ = b.admin(t, http.MethodGet, "/lost"+scope+"&archived=true", "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestAFlagThatOthersDependOnIsNotArchived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("base")
	status, answer := b.admin(t, http.MethodPost, scope, `{"identifier": "dependent", "name": "dependent", "kind": "boolean", "project": "shop",
		"defaultOnVariation": "true", "defaultOffVariation": "false", "prerequisites": [{"feature": "base", "variations": ["true"]}],
		"variations": [{"identifier": "true", "name": "True", "value": "true"}, {"identifier": "false", "name": "False", "value": "false"}]}`)
	require.Equal(t, http.StatusCreated, status, "%s", answer)
	status, answer = b.admin(t, http.MethodDelete, "/base"+scope+"&forceDelete=false", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.Contains(t, string(answer), "dependent")
	for of, want := range map[string]int{"base": 1, "dependent": 0} {
		status, answer = b.admin(t, http.MethodGet, "/"+of+"/dependants"+scope, "")
		require.Equal(t, http.StatusOK, status)
		var listed page
		strictly(t, answer, &listed)
		require.Len(t, listed.Features, want)
	}
	status, _ = b.admin(t, http.MethodGet, "/none/dependants"+scope, "")
	require.Equal(t, http.StatusNotFound, status)
}

func TestMetricsMakeAFlagActive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	header, environment := b.sdk(t)
	evaluated := time.Now().Truncate(time.Millisecond)
	kind := rest.MetricsDataMetricsTypeFFMETRICS
	body, err := json.Marshal(rest.Metrics{MetricsData: &[]rest.MetricsData{{
		Attributes: []rest.KeyValue{{Key: "featureIdentifier", Value: "flag"}, {Key: "SDK_TYPE", Value: "server"}},
		Count:      3, MetricsType: kind, Timestamp: evaluated.UnixMilli(),
	}}})
	require.NoError(t, err)
	status, _ := b.do(t, http.MethodPost, client+"/metrics/"+environment, string(body), header)
	require.Equal(t, http.StatusOK, status)
	_, answer := b.admin(t, http.MethodGet, "/flag"+scope, "")
	require.NotContains(t, string(answer), `"status"`, "nobody has asked for metrics")
	_, answer = b.admin(t, http.MethodGet, "/flag"+scope+"&metrics=true", "")
	var feature harnessserver.Feature
	require.NoError(t, json.Unmarshal(answer, &feature))
	require.Equal(t, &harnessserver.Status{Status: "active", LastAccess: evaluated.UnixMilli()}, feature.Status)
}

func TestInjectedStatusesAreAnsweredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.CreateFlag("flag")
	b.server.Inject(http.StatusConflict, 1)
	b.server.Inject(http.StatusBadGateway, 1)
	seen := map[int]int{}
	for range 2 {
		status, _ := b.admin(t, http.MethodGet, "/flag"+scope, "")
		seen[status]++
	}
	require.Equal(t, []int{http.StatusOK, http.StatusBadGateway}, slices.Sorted(maps.Keys(seen)), "a conflict waits for a change")
	status, _ := b.admin(t, http.MethodPatch, "/flag"+scope, furnish)
	require.Equal(t, http.StatusConflict, status)
}

func decode(t *testing.T, part string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	return raw
}
