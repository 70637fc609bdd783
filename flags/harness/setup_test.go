package harness_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/harness/ff-golang-server-sdk/client"
	"github.com/harness/ff-golang-server-sdk/evaluation"
	"github.com/harness/ff-golang-server-sdk/log"
	"github.com/harness/ff-golang-server-sdk/logger"
	"github.com/harness/ff-golang-server-sdk/pkg/repository"
	"github.com/harness/ff-golang-server-sdk/rest"
	"github.com/harness/ff-golang-server-sdk/stream"
	lru "github.com/hashicorp/golang-lru"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/flagstest"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

const (
	apiKey = "pat.account.4711"
	sdkKey = "sdk-key-0815"
	// plain is a boolean flag that is off.
	plain = "plain"
	// scope of every request of the admin API.
	scope = "?accountIdentifier=account&environmentIdentifier=production&orgIdentifier=default&projectIdentifier=shop"
)

// TestMain silences what the SDK's clients log past the logger they are given.
func TestMain(m *testing.M) {
	log.SetLogger(logger.NewNoOpLogger())
	os.Exit(m.Run())
}

// bundle is a stand-in server with one provider, whose requests of the admin API are recorded.
type bundle struct {
	server   *harnessserver.Server
	provider *harness.Provider
	config   harness.Config
	wire     *wire
}

func setup(t *testing.T) bundle { return setupWith(t, harnessserver.Options{}) }

func setupWith(t *testing.T, o harnessserver.Options) bundle {
	t.Helper()
	o.Project, o.APIKey, o.SDKKey = "shop", apiKey, sdkKey
	server := harnessserver.New(o)
	require.NoError(t, server.Start("127.0.0.1:0"))
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	server.CreateFlag(plain)
	b := bundle{server: server, wire: &wire{}}
	b.config = harness.Config{
		APIURL: server.AdminURL(), SDKURL: server.SDKURL(), APIKey: apiKey, SDKKey: sdkKey,
		Account: "account", Organization: "default", Project: "shop", Environment: "production",
		HTTPClient: &http.Client{Transport: b.wire},
	}
	b.provider = b.open(t, b.config)
	return b
}

func (b bundle) open(t *testing.T, config harness.Config) *harness.Provider {
	t.Helper()
	provider, err := harness.New(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, provider.Close()) })
	return provider
}

// admin makes a request as somebody else.
func (b bundle) admin(t *testing.T, method, path, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, b.server.AdminURL()+"/cf/admin/features"+path+scope, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("x-api-key", apiKey)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, 2, response.StatusCode/100, "%s", answer)
}

func (b bundle) instruct(t *testing.T, key, instructions string) {
	t.Helper()
	var named []struct{ Parameters struct{ Targets []string } }
	require.NoError(t, json.Unmarshal([]byte(`[`+instructions+`]`), &named))
	for _, one := range named {
		b.server.CreateTargets(one.Parameters.Targets...)
	}
	b.admin(t, http.MethodPatch, "/"+key, `{"instructions": [`+instructions+`]}`)
}

// furnish creates a flag with a 25 % rollout, targets and a rule.
func (b bundle) furnish(t *testing.T, key string) {
	t.Helper()
	b.server.CreateFlag(key)
	b.instruct(t, key, `
		{"kind": "setFeatureFlagState", "parameters": {"state": "on"}},
		{"kind": "updateDefaultServe", "parameters": {"bucketBy": "identifier", "variations":
			[{"variation": "true", "weight": 25}, {"variation": "false", "weight": 75}]}},
		{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "false", "targets": ["user-1"]}},
		{"kind": "addTargetsToVariationTargetMap", "parameters": {"variation": "true", "targets": ["phone"]}},
		{"kind": "addRule", "parameters": {"uuid": "kept", "priority": 100, "serve": {"variation": "true"}, "clauses":
			[{"attribute": "identifier", "op": "ends_with", "values": ["77"], "negate": false}]}}`)
}

func (b bundle) environment(t *testing.T, key string) *harnessserver.Environment {
	t.Helper()
	flag, ok := b.server.Snapshot(key)
	require.True(t, ok)
	return flag.EnvProperties
}

// application is Harness's own SDK, connected to its stream.
func (b bundle) application(t *testing.T) flagstest.Reader {
	t.Helper()
	app := &application{changes: make(chan string, 100)}
	streaming := &streamWatch{begun: make(chan struct{}, 1)}
	held, err := lru.New(100)
	require.NoError(t, err)
	sdk, err := client.NewCfClient(sdkKey,
		client.WithURL(b.server.SDKURL()), client.WithEventsURL(b.server.SDKURL()), client.WithWaitForInitialized(true),
		client.WithAnalyticsEnabled(false), client.WithStoreEnabled(false), client.WithLogger(logger.NewNoOpLogger()),
		client.WithEventStreamListener(app), client.WithCache(cache{repository.LRUCache{Cache: held}}),
		client.WithHTTPClient(&http.Client{Transport: streaming}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sdk.Close()) })
	select {
	case <-streaming.begun: // what changes from here on is told
	case <-time.After(time.Minute):
		require.Fail(t, "the application has no stream")
	}
	app.sdk, app.held = sdk, held
	return app
}

// streamWatch tells when its client's own stream has begun: the server counts those of read-backs, too, some of which come late.
type streamWatch struct{ begun chan struct{} }

func (w *streamWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/stream") {
		select {
		case w.begun <- struct{}{}:
		default:
		}
	}
	return response, err
}

// cache is the SDK's own without the time of its last change, which the SDK writes and reads unguarded.
type cache struct{ repository.LRUCache }

func (cache) Updated() time.Time        { return time.Time{} }
func (cache) SetLogger(_ logger.Logger) {}

// application reads a context as the target of the same identifier, with an attribute named after the context's kind.
type application struct {
	sdk     *client.CfClient
	held    *lru.Cache
	changes chan string
}

func (a *application) Bool(key, contextKind, contextKey string) (value, ok bool) {
	value, err := a.sdk.BoolVariation(key, target(contextKind, contextKey), false)
	return value, err == nil
}

func target(contextKind, contextKey string) *evaluation.Target {
	return &evaluation.Target{Identifier: contextKey, Attributes: &map[string]any{contextKind: contextKey}}
}

// Stage is a string flag's text: Harness has no migration flags of its own.
func (a *application) Stage(key, contextKind, contextKey string) (stage string, ok bool) {
	stage, err := a.sdk.StringVariation(key, target(contextKind, contextKey), "")
	return stage, err == nil
}

// Version is in the SDK's cache alone.
func (a *application) Version(key string) (version int, ok bool) {
	held, ok := a.held.Get("flag/" + key)
	if !ok {
		return 0, false
	}
	told, ok := held.(rest.FeatureConfig)
	if !ok || told.Version == nil {
		return 0, false
	}
	return int(*told.Version), true
}

// Pub is called by the SDK when it has taken a change in.
func (a *application) Pub(_ context.Context, e stream.Event) error {
	var change stream.Message
	if e.SSEEvent == nil || json.Unmarshal(e.SSEEvent.Data, &change) != nil {
		return nil // the stream ended
	}
	a.changes <- change.Identifier
	return nil
}

func (a *application) Listen() func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case key := <-a.changes:
			return key, nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// wire records requests, and fails where a test says so.
type wire struct {
	mu      sync.Mutex
	seen    []recorded
	onPatch func(*http.Response) error // called once, when the answer to a PATCH has come
	// instead of sending a request that would change something, called once; it may send it.
	instead func(*http.Request) (*http.Response, error)
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
	instead := w.instead
	if r.Method != http.MethodGet {
		w.instead = nil
	}
	w.mu.Unlock()
	if instead != nil && r.Method != http.MethodGet {
		return instead(r)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || r.Method != http.MethodPatch {
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

// refuse answers the next change with a status instead.
func (w *wire) refuse(status int, body string) {
	w.instead = func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

// hook is what the next answer to a PATCH comes to; nil leaves it alone.
func (w *wire) hook(onPatch func(*http.Response) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onPatch = onPatch
}

// changes are the requests that would change something.
func (w *wire) changes() []recorded {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []recorded
	for _, r := range w.seen {
		if r.method != http.MethodGet {
			out = append(out, r)
		}
	}
	return out
}

// requireDiscreet checks what every error must keep to itself.
func requireDiscreet(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotContains(t, err.Error(), apiKey)
	require.NotContains(t, err.Error(), sdkKey)
}

func apply(t *testing.T, p flags.Provider, percent int) flags.State {
	t.Helper()
	state, err := p.Apply(t.Context(), plain, flags.Change{Percent: percent}, "", nil)
	require.NoError(t, err)
	return state
}

// answering is a provider whose every GET is answered with one feature.
func answering(t *testing.T, b bundle, feature any) *harness.Provider {
	t.Helper()
	raw, err := json.Marshal(feature)
	require.NoError(t, err)
	return answeringRaw(t, b, raw)
}

func answeringRaw(t *testing.T, b bundle, raw []byte) *harness.Provider {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) }))
	t.Cleanup(server.Close)
	b.config.APIURL = server.URL
	return b.open(t, b.config)
}
