package flagserver_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

const (
	token    = "api-token"
	sdkKey   = "sdk-key"
	flagPath = "/api/v2/flags/shop/new-page"
	patience = 30 * time.Second
	poll     = 2 * time.Millisecond
)

// bundle is a running server with the flag new-page.
type bundle struct {
	server  *flagserver.Server
	options flagserver.Options
	header  http.Header
}

func setup(t *testing.T) bundle {
	t.Helper()
	b := bundle{options: flagserver.Options{Project: "shop", Environment: "production", APIToken: token, SDKKey: sdkKey,
		File: filepath.Join(t.TempDir(), "flags.json")}, header: http.Header{}}
	b.server = start(t, b.options)
	require.NoError(t, b.server.CreateFlag("new-page"))
	b.header.Set("Authorization", token)
	b.header.Set("LD-API-Version", "20240415")
	b.header.Set("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch")
	return b
}

func start(t *testing.T, options flagserver.Options) *flagserver.Server {
	t.Helper()
	server := flagserver.New(options)
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	return server
}

// rest returns the status, the decoded answer and the header.
func (b bundle) rest(t *testing.T, method, path, body string) (int, map[string]any, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.server.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header = b.header.Clone()
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var answer map[string]any
	require.NoError(t, json.Unmarshal(raw, &answer), "%s", raw)
	return response.StatusCode, answer, response.Header
}

func (b bundle) patch(t *testing.T, instructions string) (int, map[string]any) {
	t.Helper()
	status, answer, _ := b.rest(t, http.MethodPatch, flagPath,
		`{"environmentKey": "production", "instructions": [`+instructions+`]}`)
	return status, answer
}

func (b bundle) snapshot(t *testing.T) flagserver.Flag {
	t.Helper()
	flag, ok := b.server.Snapshot("new-page")
	require.True(t, ok)
	return flag
}

func (b bundle) client(t *testing.T, config ld.Config) *ld.LDClient {
	t.Helper()
	config.ServiceEndpoints = ldcomponents.RelayProxyEndpoints(b.server.URL())
	config.Logging = ldcomponents.NoLogging()
	client, err := ld.MakeCustomClient(sdkKey, config, patience)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func on(client *ld.LDClient) func() bool {
	return func() bool {
		value, _ := client.BoolVariation("new-page", ldcontext.New("anna"), false)
		return value
	}
}

func TestADeletedFlagIsGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client := b.client(t, ld.Config{Events: ldcomponents.NoEvents()})
	b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Eventually(t, on(client), patience, poll)
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, b.server.URL()+flagPath, nil)
		require.NoError(t, err)
		request.Header = b.header.Clone()
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, response.StatusCode)
	}
	require.Eventually(t, func() bool {
		_, err := client.BoolVariation("new-page", ldcontext.New("anna"), false)
		return err != nil
	}, patience, poll)
	require.NoError(t, b.server.CreateFlag("another"))
	_, kept := start(t, b.options).Snapshot("new-page")
	require.False(t, kept, "nor does it come back from the file")
}

func TestStreamTellsChangesAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client := b.client(t, ld.Config{Events: ldcomponents.NoEvents()})
	require.False(t, on(client)())
	changes := client.GetFlagTracker().AddFlagChangeListener()
	status, _ := b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Equal(t, http.StatusOK, status)
	select {
	case change := <-changes:
		require.Equal(t, "new-page", change.Key)
	case <-time.After(patience):
		require.Fail(t, "no change was told")
	}
	require.True(t, on(client)())

	status, answer, _ := b.rest(t, http.MethodPatch, flagPath, `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, true, answer["archived"])
	require.Eventually(t, func() bool {
		_, err := client.BoolVariation("new-page", ldcontext.New("anna"), false)
		return err != nil
	}, patience, poll, "an archived flag is deleted from the stream")
}

func TestPollingServesTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.patch(t, `{"kind": "turnFlagOn"}`)
	client := b.client(t, ld.Config{DataSource: ldcomponents.PollingDataSource(), Events: ldcomponents.NoEvents()})
	require.True(t, on(client)())
}

func TestTargetsAndRulesReachTheSDK(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, no := b.snapshot(t).Variations[0].ID, b.snapshot(t).Variations[1].ID
	status, answer := b.patch(t, strings.NewReplacer("YES", yes, "NO", no).Replace(`
		{"kind": "turnFlagOn"}, {"kind": "updateFallthroughVariationOrRollout", "variationId": "NO"},
		{"kind": "addTargets", "values": ["anna"], "variationId": "YES"},
		{"kind": "addTargets", "values": ["phone"], "variationId": "YES", "contextKind": "device"},
		{"kind": "addRule", "variationId": "YES", "clauses": [{"attribute": "country", "op": "in", "values": ["SE"]}]}`))
	require.Equal(t, http.StatusOK, status, answer)
	client := b.client(t, ld.Config{Events: ldcomponents.NoEvents()})
	for name, c := range map[string]struct {
		context ldcontext.Context
		want    bool
	}{
		"target":        {ldcontext.New("anna"), true},
		"nobody":        {ldcontext.New("bert"), false},
		"other kind":    {ldcontext.NewWithKind("device", "phone"), true},
		"rule":          {ldcontext.NewBuilder("carl").SetString("country", "SE").Build(), true},
		"no such value": {ldcontext.NewBuilder("carl").SetString("country", "DE").Build(), false},
	} {
		value, err := client.BoolVariation("new-page", c.context, !c.want)
		require.NoError(t, err)
		require.Equal(t, c.want, value, name)
	}
	require.Len(t, b.snapshot(t).Environments["production"].ContextTargets, 1)

	rule := b.snapshot(t).Environments["production"].Rules[0].ID
	b.patch(t, `{"kind": "removeTargets", "values": ["anna"], "variationId": "`+yes+`"}, {"kind": "removeRule", "ruleId": "`+rule+`"}`)
	require.Eventually(t, func() bool { return !on(client)() }, patience, poll)
	require.Empty(t, b.snapshot(t).Environments["production"].Rules)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	turnOn := `{"environmentKey": "production", "instructions": [{"kind": "turnFlagOn"}]}`
	for name, c := range map[string]struct {
		status             int
		header, value      string
		method, path, body string
	}{
		"wrong token":      {401, "Authorization", "Bearer " + token, "GET", flagPath, ""},
		"plain JSON":       {400, "Content-Type", "application/json", "PATCH", flagPath, turnOn},
		"no version":       {400, "LD-API-Version", "", "PATCH", flagPath, turnOn},
		"unknown version":  {400, "LD-API-Version", "19991231", "GET", flagPath, ""},
		"unknown flag":     {404, "", "", "GET", "/api/v2/flags/shop/none", ""},
		"unknown project":  {404, "", "", "PATCH", "/api/v2/flags/other/new-page", turnOn},
		"no environment":   {400, "", "", "PATCH", flagPath, `{"instructions": [{"kind": "turnFlagOn"}]}`},
		"no instructions":  {400, "", "", "PATCH", flagPath, `{"environmentKey": "production"}`},
		"unknown kind":     {400, "", "", "PATCH", flagPath, `{"environmentKey": "production", "instructions": [{"kind": "explode"}]}`},
		"not JSON":         {400, "", "", "PATCH", flagPath, `{`},
		"status elsewhere": {404, "", "", "GET", "/api/v2/flag-statuses/shop/staging/new-page", ""},
		"flag exists":      {409, "", "", "POST", "/api/v2/flags/shop", `{"key": "new-page", "name": "again"}`},
		"bad key":          {400, "", "", "POST", "/api/v2/flags/shop", `{"key": "a b", "name": "blank"}`},
		"second is wrong": {400, "", "", "PATCH", flagPath, `{"environmentKey": "production", "instructions":
			[{"kind": "turnFlagOn"}, {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"none": 100000}}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			before := b.snapshot(t)
			if c.header != "" {
				b.header.Set(c.header, c.value)
			}
			status, answer, _ := b.rest(t, c.method, c.path, c.body)
			require.Equal(t, c.status, status)
			require.NotEmpty(t, answer["code"])
			require.NotEmpty(t, answer["message"])
			require.Equal(t, before, b.snapshot(t), "all of a patch or nothing")
		})
	}
}

func TestDryRunShowsAndChangesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.snapshot(t)
	status, answer, _ := b.rest(t, http.MethodPatch, flagPath+"?dryRun=true",
		`{"environmentKey": "production", "instructions": [{"kind": "turnFlagOn"}]}`)
	require.Equal(t, http.StatusOK, status)
	environment := answer["environments"].(map[string]any)["production"].(map[string]any)
	require.Equal(t, true, environment["on"])
	require.Equal(t, before, b.snapshot(t))
}

func TestVersionRisesOnlyWithAChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Equal(t, 2, b.snapshot(t).Environments["production"].Version)
	b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Equal(t, 2, b.snapshot(t).Environments["production"].Version)
}

func TestFlagsSurviveARestart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.patch(t, `{"kind": "turnFlagOn"}`)
	before := b.snapshot(t)
	require.NoError(t, b.server.Close())
	b.server = start(t, b.options)
	require.Equal(t, before, b.snapshot(t))
	require.NoError(t, b.server.CreateFlag("new-page"), "creating it again leaves it")
	require.Equal(t, before, b.snapshot(t))

	b.options.Environment = "staging"
	require.ErrorContains(t, flagserver.New(b.options).Start("127.0.0.1:0"), "name another file")
}

func TestStatusesFollowTheEventsOfTheSDK(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status := func() map[string]any {
		_, answer, _ := b.rest(t, http.MethodGet, "/api/v2/flag-statuses/shop/production/new-page", "")
		return answer
	}
	require.Equal(t, "new", status()["name"])
	require.Nil(t, status()["lastRequested"])
	client := b.client(t, ld.Config{})
	on(client)()
	client.Flush()
	require.Eventually(t, func() bool { return status()["name"] == "active" }, patience, poll)
	requested, err := time.Parse(time.RFC3339Nano, status()["lastRequested"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), requested, time.Minute)
	b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Equal(t, "launched", status()["name"])
	yes, no := b.snapshot(t).Variations[0].ID, b.snapshot(t).Variations[1].ID
	b.patch(t, `{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"`+yes+`": 100000, "`+no+`": 0}},
		{"kind": "addTargets", "values": ["anna"], "variationId": "`+yes+`"}`)
	require.Equal(t, "launched", status()["name"], "all are served one variation")
	b.patch(t, `{"kind": "addTargets", "values": ["eve"], "variationId": "`+no+`"}`)
	require.Equal(t, "active", status()["name"])
	_, all, _ := b.rest(t, http.MethodGet, "/api/v2/flag-statuses/shop/production", "")
	require.Len(t, all["items"], 1)
}

func TestListAndCreate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	status, made, _ := b.rest(t, http.MethodPost, "/api/v2/flags/shop", `{"key": "text", "name": "Text",
		"variations": [{"value": "a"}, {"value": "b"}, {"value": "c"}], "tags": ["ops"]}`)
	require.Equal(t, http.StatusCreated, status)
	require.Equal(t, "multivariate", made["kind"])
	_, list, _ := b.rest(t, http.MethodGet, "/api/v2/flags/shop?env=production", "")
	require.InDelta(t, 2, list["totalCount"], 0)
	_, filtered, _ := b.rest(t, http.MethodGet, flagPath+"?env=staging", "")
	require.Empty(t, filtered["environments"])
}

func TestInjectedStatuses(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Inject(http.StatusTooManyRequests, 1)
	began := time.Now()
	status, _, header := b.rest(t, http.MethodGet, flagPath, "")
	require.Equal(t, http.StatusTooManyRequests, status)
	reset, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64)
	require.NoError(t, err)
	require.Greater(t, reset, began.UnixMilli())

	b.server.Inject(http.StatusConflict, 1)
	status, _, _ = b.rest(t, http.MethodGet, flagPath, "")
	require.Equal(t, http.StatusOK, status, "a conflict waits for a change")
	status, _ = b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Equal(t, http.StatusConflict, status)
	status, _ = b.patch(t, `{"kind": "turnFlagOn"}`)
	require.Equal(t, http.StatusOK, status)
}

func TestSDKKeyIsChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, path := range []string{"/all", "/sdk/latest-all"} {
		status, answer, _ := b.rest(t, http.MethodGet, path, "")
		require.Equal(t, http.StatusUnauthorized, status, fmt.Sprint(path, answer))
	}
}

func TestCloseEndsStreams(t *testing.T) {
	t.Parallel()
	b := setup(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL()+"/all", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", sdkKey)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	first := make([]byte, len("event: put"))
	_, err = io.ReadFull(response.Body, first)
	require.NoError(t, err)
	require.Equal(t, "event: put", string(first))
	require.NoError(t, b.server.Close())
	_, err = io.Copy(io.Discard, response.Body)
	if err != nil {
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
}

// What a misspelt field means to LaunchDarkly is not documented, so that no client's mistake shall pass here.
func TestFieldsThatNobodyDocumentedAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes := b.snapshot(t).Variations[0].ID
	for _, in := range []string{
		`{"kind": "turnFlagOn", "nonsense": true}`, `{"kind": "turnFlagOn", "values": ["x"]}`, `{"kind": "turnFlagUp"}`,
		`{"kind": "addTargets", "valeus": ["x"], "variationId": "YES"}`,
		`{"kind": "addRule", "trackEvents": true, "variationId": "YES", "clauses": [{"attribute": "key", "op": "in", "values": ["a"]}]}`,
		`{"kind": "replaceRules", "rules": [{"variationId": "YES", "ref": "x", "clauses": [{"attribute": "key", "op": "in", "values": ["a"]}]}]}`,
	} {
		status, answer := b.patch(t, strings.ReplaceAll(in, "YES", yes))
		require.Equal(t, http.StatusBadRequest, status, "%s: %s", in, answer)
	}
	require.Equal(t, 1, b.snapshot(t).Version)
	for path, body := range map[string]string{
		"/api/v2/flags/shop": `{"key": "other", "name": "Other", "nmae": "x"}`,
		"/api/v2/projects/shop/flags/new-page/environments/production/approval-requests": `{"description": "please", "notify": ["m"],
			"instructions": [{"kind": "turnFlagOn"}]}`,
	} {
		status, _, _ := b.rest(t, http.MethodPost, path, body)
		require.Equal(t, http.StatusBadRequest, status, path)
	}
	b.header.Set("Content-Type", "application/json")
	status, _, _ := b.rest(t, http.MethodPatch, flagPath, `[{"op": "replace", "path": "/environments/production/on", "value": true, "valeu": 1}]`)
	require.Equal(t, http.StatusBadRequest, status)
}
