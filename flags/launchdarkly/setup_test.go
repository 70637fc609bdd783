package launchdarkly_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/internal/devstack/flagserver"
)

const (
	token  = "api-token-4711"
	sdkKey = "sdk-key-0815"
	// adminToken is of somebody who may change flags without approval.
	adminToken = "api-token-admin"
	// plain is a boolean flag that is off.
	plain = "plain"
)

// bundle is a stand-in server with one provider, whose REST requests are recorded.
type bundle struct {
	server   *flagserver.Server
	provider *launchdarkly.Provider
	config   launchdarkly.Config
	wire     *wire
}

// way in which a service takes JSON patches.
type way struct {
	name  string
	taken flagserver.JSONPatches
}

// ways are all, first with conditions and last without.
func ways() []way {
	return []way{
		{"with conditions", flagserver.Tested}, {"with conditions by 400", flagserver.TestedAs400},
		{"conditions passed over", flagserver.Untested}, {"semantic patches alone", flagserver.Refused},
	}
}

// both are a service with conditions and one without.
func both() []way { return []way{ways()[0], ways()[3]} }

func setup(t *testing.T) bundle {
	t.Helper()
	return counting(t, 0)
}

// counting is a service whose SDKs are told versions that differ by so much from those of its API.
func counting(t *testing.T, sdkVersions int) bundle {
	t.Helper()
	server := flagserver.New(flagserver.Options{
		Project: "shop", Environment: "production", APIToken: token, BypassToken: adminToken, SDKKey: sdkKey, SDKVersions: sdkVersions,
	})
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	require.NoError(t, server.CreateFlag(plain))
	b := bundle{server: server, wire: &wire{}}
	b.config = launchdarkly.Config{
		APIURL: server.URL(), StreamURL: server.URL(), Token: token, Project: "shop", Environment: "production",
		SDKKey: sdkKey, HTTPClient: &http.Client{Transport: b.wire},
	}
	b.provider = b.open(t, b.config)
	return b
}

func (b bundle) open(t *testing.T, config launchdarkly.Config) *launchdarkly.Provider {
	t.Helper()
	provider, err := launchdarkly.New(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	return provider
}

// rest makes a request as somebody else.
func (b bundle) rest(t *testing.T, method, path, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.server.URL()+path, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", adminToken)
	request.Header.Set("LD-API-Version", "20240415")
	request.Header.Set("Content-Type", "application/json; domain-model=launchdarkly.semanticpatch")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, 2, response.StatusCode/100, "%s", answer)
}

func (b bundle) instruct(t *testing.T, key, instructions string) {
	t.Helper()
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/"+key,
		`{"environmentKey": "production", "instructions": [`+instructions+`]}`)
}

// ids returns the ids of the true and the false variation.
func (b bundle) ids(t *testing.T, key string) (yes, no string) {
	t.Helper()
	flag, ok := b.server.Snapshot(key)
	require.True(t, ok)
	return flag.Variations[0].ID, flag.Variations[1].ID
}

// furnish creates a flag with a 25 % rollout, targets of two kinds and a rule.
func (b bundle) furnish(t *testing.T, key string) {
	t.Helper()
	require.NoError(t, b.server.CreateFlag(key))
	yes, no := b.ids(t, key)
	b.instruct(t, key, strings.NewReplacer("YES", yes, "NO", no).Replace(`
		{"kind": "turnFlagOn"},
		{"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": {"YES": 25000, "NO": 75000}},
		{"kind": "addTargets", "values": ["user-1"], "variationId": "NO"},
		{"kind": "addTargets", "values": ["phone"], "variationId": "YES", "contextKind": "device"},
		{"kind": "addRule", "variationId": "YES", "description": "sevens", "clauses":
			[{"contextKind": "user", "attribute": "key", "op": "endsWith", "values": ["77"], "negate": false}]}`))
}

// stage creates a migration flag with six stages, for contexts of a kind.
func (b bundle) stage(t *testing.T, key, contextKind string) {
	t.Helper()
	b.rest(t, http.MethodPost, "/api/v2/flags/shop", `{"key": "`+key+`", "name": "Staged", "purpose": "migration",
		"migrationSettings": {"stageCount": 6, "contextKind": "`+contextKind+`"}}`)
}

func (b bundle) application(t *testing.T) *ld.LDClient {
	t.Helper()
	client, err := ld.MakeCustomClient(sdkKey, ld.Config{
		ServiceEndpoints: ldcomponents.RelayProxyEndpoints(b.server.URL()),
		Events:           ldcomponents.NoEvents(),
		Logging:          ldcomponents.NoLogging(),
	}, time.Minute)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// wire records requests, and fails where a test says so. The probes, by which a service proves that it honours conditions, change
// nothing, and are left alone by all but probe.
type wire struct {
	mu      sync.Mutex
	seen    []recorded
	probe   func(*http.Request) *http.Response // instead, for probes
	onPatch func(*http.Response) error         // called once, when the answer to a PATCH has come
	// instead answers requests in the server's place, where it does not return nil.
	instead func(*http.Request) *http.Response
	// lose drops the answer to a request that got through.
	lose func(*http.Request) bool
}

type recorded struct {
	method, target, body string
	header               http.Header
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Lock()
	w.seen = append(w.seen, recorded{r.Method, r.URL.RequestURI(), string(body), r.Header.Clone()})
	instead, lose, probe := w.instead, w.lose, probing(r.Method, r.URL.RequestURI())
	if probe {
		instead, lose = w.probe, nil
	}
	w.mu.Unlock()
	if instead != nil {
		if response := instead(r); response != nil {
			response.Request = r
			return response, nil
		}
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && lose != nil && lose(r) {
		response.Body.Close()
		return nil, errors.New("connection reset")
	}
	if err != nil || r.Method != http.MethodPatch || probe {
		return response, err
	}
	w.mu.Lock()
	hook := w.onPatch
	w.onPatch = nil
	w.mu.Unlock()
	if hook == nil {
		return response, nil
	}
	if err := hook(response); err != nil {
		response.Body.Close()
		return nil, err
	}
	return response, nil
}

// probing tells a probe from a change, and from a rehearsal.
func probing(method, target string) bool {
	return method == http.MethodPatch && strings.HasSuffix(target, "?dryRun=true&ignoreConflicts=true")
}

// patches are all that might change something, and rehearsals.
func (w *wire) patches() []recorded {
	return slices.DeleteFunc(w.all(http.MethodPatch, ""), func(r recorded) bool { return probing(r.method, r.target) })
}

func (w *wire) probes() []recorded {
	return w.all(http.MethodPatch, "?dryRun=true&ignoreConflicts=true")
}

// all requests with a method whose target ends so.
func (w *wire) all(method, ending string) []recorded {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []recorded
	for _, r := range w.seen {
		if r.method == method && strings.HasSuffix(r.target, ending) {
			out = append(out, r)
		}
	}
	return out
}

// requireDiscreet checks what every error must keep to itself.
func requireDiscreet(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotContains(t, err.Error(), token)
	require.NotContains(t, err.Error(), sdkKey)
}

func (b bundle) environment(t *testing.T, key string) *flagserver.Environment {
	t.Helper()
	flag, ok := b.server.Snapshot(key)
	require.True(t, ok)
	return flag.Environments["production"]
}
