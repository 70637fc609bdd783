package harness

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/harness-community/sse/v3"
	"github.com/harness/ff-golang-server-sdk/logger"
	"github.com/harness/ff-golang-server-sdk/pkg/repository"
	"github.com/harness/ff-golang-server-sdk/rest"
	"github.com/harness/ff-golang-server-sdk/stream"
	lru "github.com/hashicorp/golang-lru"

	"github.com/contraflow/contraflow/flags"
)

// cached is how many flags a reader keeps: the stream tells of all that change meanwhile, and only one is looked at.
const cached = 100

// reader is one connection of an SDK.
type reader struct {
	url, key    string
	environment string // that the key must be of
	http        *http.Client
	changed     chan struct{} // holds at most one token: something changed since it was last taken

	repository    repository.Repository
	api           *rest.ClientWithResponses // nil before connect
	environmentID string
}

func newReader(url, key, environment string, client *http.Client) (*reader, error) {
	cache, err := lru.New(cached)
	if err != nil {
		return nil, err
	}
	r := &reader{url: url, key: key, environment: environment, http: client, changed: make(chan struct{}, 1)}
	r.repository = repository.NewWithStorageAndCallback(repository.LRUCache{Cache: cache}, nil, told{r.changed})
	return r, nil
}

// look asks what SDKs are told of a flag at this moment; nil is no such flag. The first look also starts the stream, which
// lasts as long as ctx.
func (r *reader) look(ctx context.Context, key string) (*rest.FeatureConfig, error) {
	if r.api == nil {
		if err := r.connect(ctx); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, defaultRequestTimeout)
	defer cancel()
	answer, err := r.api.GetFeatureConfigByIdentifierWithResponse(ctx, r.environmentID, key, nil)
	switch {
	case err != nil:
		return nil, err
	case answer.JSON200 != nil:
		r.repository.SetFlag(*answer.JSON200, true)
		return r.held(key), nil
	case answer.StatusCode() == http.StatusNotFound:
		r.repository.DeleteFlag(key)
		return nil, nil
	default:
		return nil, refused(answer.StatusCode())
	}
}

// held is what the SDK's evaluator would look at; nil is no such flag.
func (r *reader) held(key string) *rest.FeatureConfig {
	told, err := r.repository.GetFlag(key)
	if err != nil {
		return nil
	}
	return &told
}

func refused(status int) error {
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fmt.Errorf("answered %d: %w", status, flags.ErrUnauthorized)
	}
	return fmt.Errorf("answered %d", status)
}

// connect does what the SDK's client does first: it trades the key for a token, which names the environment.
func (r *reader) connect(ctx context.Context) error {
	token, claims, err := r.authenticate(ctx)
	if err != nil {
		return err
	}
	api, err := rest.NewClientWithResponses(r.url, rest.WithHTTPClient(r.http),
		rest.WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
			request.Header.Set("Authorization", "Bearer "+token)
			query := request.URL.Query()
			query.Set("cluster", claims.Cluster)
			request.URL.RawQuery = query.Encode()
			return nil
		}))
	if err != nil {
		return err
	}
	r.api, r.environmentID = api, claims.Environment
	// None yet; the SDK takes what is deleted out of these, and complains on standard error where there are none.
	r.repository.SetFlags(true, r.environmentID)
	r.repository.SetSegments(true, r.environmentID)
	client := sse.NewClient(r.url + "/stream?cluster=" + url.QueryEscape(claims.Cluster))
	client.Connection = r.http
	// Each is told of once; nobody waits for it, because looking goes on while the stream is down.
	connected, disconnected := make(chan struct{}, 1), make(chan error, 1)
	stream.NewSSEClient(r.key, token, client, r.repository, api, logger.NewNoOpLogger(), nil, false, connected, disconnected,
		segmentRules{}).Connect(ctx, r.environmentID, r.key)
	return nil
}

// errElsewhere is an SDK key of another environment: whatever it shows proves nothing.
var errElsewhere = errors.New("the SDK key is of another environment")

type tokenClaims struct {
	Environment string `json:"environment"`           // an id of its own
	Identifier  string `json:"environmentIdentifier"` // as people and the admin API write it; SDKs don't need it
	Cluster     string `json:"clusterIdentifier"`
}

func (r *reader) authenticate(ctx context.Context) (token string, claims tokenClaims, err error) {
	ctx, cancel := context.WithTimeout(ctx, defaultRequestTimeout)
	defer cancel()
	api, err := rest.NewClientWithResponses(r.url, rest.WithHTTPClient(r.http))
	if err != nil {
		return "", claims, err
	}
	answer, err := api.AuthenticateWithResponse(ctx, rest.AuthenticateJSONRequestBody{ApiKey: r.key})
	if err != nil {
		return "", claims, err
	}
	switch {
	case answer.JSON200 != nil:
	case answer.StatusCode() == http.StatusNotFound: // no such key: SDKs don't try again either
		return "", claims, fmt.Errorf("answered %d: %w", answer.StatusCode(), flags.ErrUnauthorized)
	default:
		return "", claims, refused(answer.StatusCode())
	}
	token = answer.JSON200.AuthToken
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", claims, errors.New("answered with a token of another shape")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Environment == "" {
		return "", claims, errors.New("answered with a token that names no environment")
	}
	if claims.Identifier != "" && claims.Identifier != r.environment {
		return "", claims, fmt.Errorf("%w, %q", errElsewhere, claims.Identifier)
	}
	return token, claims, nil
}

// segmentRules asks for target groups as the SDK's client does.
type segmentRules struct{}

func (segmentRules) GetSegmentRulesV2QueryParam() *rest.SegmentRulesV2QueryParam {
	v2 := rest.SegmentRulesV2QueryParam("v2")
	return &v2
}

// told makes a token of each change the SDK stores.
type told struct{ changed chan struct{} }

func (t told) tell() {
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

func (t told) OnFlagStored(string)              { t.tell() }
func (t told) OnFlagDeleted(string)             { t.tell() }
func (t told) OnFlagsStored(string)             {}
func (t told) OnFlagsDeleted(string, string)    {}
func (t told) OnSegmentStored(string)           {}
func (t told) OnSegmentsStored(string)          {}
func (t told) OnSegmentDeleted(string)          {}
func (t told) OnSegmentsDeleted(string, string) {}
