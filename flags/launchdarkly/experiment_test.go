package launchdarkly_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// experimenting stands before the server and makes an experiment of every rollout, as each of the two APIs shows one.
func (b bundle) experimenting(t *testing.T) (url string) {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := `"rollout":{"experimentAllocation":{"defaultVariation":1,"canReshuffle":false},"seed":61,"contextKind":"user"`
		if r.URL.Path == "/all" {
			shown = `"rollout":{"kind":"experiment","seed":61,"contextKind":"user"`
		}
		request, err := http.NewRequestWithContext(r.Context(), r.Method, b.server.URL()+r.URL.RequestURI(), r.Body)
		if err != nil {
			return
		}
		request.Header = r.Header.Clone()
		request.Header.Del("Accept-Encoding")
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			return
		}
		defer response.Body.Close()
		w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
		w.WriteHeader(response.StatusCode)
		part := make([]byte, 1<<20) // far above any of its answers and events
		for {
			n, err := response.Body.Read(part)
			_, _ = io.WriteString(w, strings.ReplaceAll(string(part[:n]), `"rollout":{"contextKind":"user"`, shown))
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(func() { proxy.CloseClientConnections(); proxy.Close() })
	return proxy.URL
}

func TestAnExperimentOnARuleIsReadBackAndStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	yes, no := b.ids(t, plain)
	b.instruct(t, plain, `{"kind": "addRule", "rolloutWeights": {"`+yes+`": 50000, "`+no+`": 50000}, "clauses":
		[{"contextKind": "user", "attribute": "country", "op": "in", "values": ["de"], "negate": false}]}`)
	url := b.experimenting(t)
	b.config.APIURL, b.config.StreamURL = url, url
	p := b.open(t, b.config)
	before, err := p.Get(t.Context(), plain)
	require.NoError(t, err)
	on, err := b.apply(t, p, 100)
	require.NoError(t, err)
	require.Equal(t, []string{"1 rule"}, on.Exceptions)
	_, err = b.apply(t, p, 0)
	require.NoError(t, err)
	_, err = b.apply(t, p, 100)
	require.NoError(t, err)
	restored, err := p.Restore(t.Context(), plain, before, on, note, nil)
	require.NoError(t, err)
	require.True(t, restored.Equal(before))
}

func TestAnExperimentOnTheDefaultRuleIsTurnedOffAndOnAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.apply(t, b.provider, 50)
	require.NoError(t, err)
	url := b.experimenting(t)
	b.config.APIURL, b.config.StreamURL = url, url
	p := b.open(t, b.config)
	_, err = b.apply(t, p, 70)
	require.ErrorIs(t, err, flags.ErrNotRestorable)
	before, err := p.Get(t.Context(), plain)
	require.NoError(t, err)
	off, err := b.apply(t, p, 0)
	require.NoError(t, err)
	restored, err := p.Restore(t.Context(), plain, before, off, note, nil)
	require.NoError(t, err)
	require.True(t, restored.Equal(before))
	require.Equal(t, "on: 50 % true", restored.Summary)
}
