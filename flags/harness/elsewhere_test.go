package harness_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/internal/devstack/harnessserver"
)

func TestOtherEnvironmentsAreAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got, err := b.provider.Elsewhere(t.Context(), plain)
	require.NoError(t, err)
	require.Empty(t, got, "its own is not among them")

	lately, long := time.Now().Add(-time.Hour).Truncate(time.Millisecond), time.Now().Add(-100*24*time.Hour).Truncate(time.Millisecond)
	for environment, is := range map[string]struct {
		state, status string
		at            time.Time
	}{
		"staging": {"off", "active", lately}, "canary": {"on", "recently-accessed", lately}, "old": {"on", "potentially-stale", long},
	} {
		b.server.Elsewhere(environment, plain, is.state, harnessserver.Status{Status: is.status, LastAccess: is.at.UnixMilli()})
	}
	b.server.Elsewhere("demo", "another", "on", harnessserver.Status{Status: "active", LastAccess: lately.UnixMilli()})
	b.server.Evaluated(plain) // here
	b.server.Inject(http.StatusServiceUnavailable, 2)
	got, err = b.provider.Elsewhere(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, map[string]flags.Status{
		"staging": {Activity: flags.Active, LastRequested: lately}, "canary": {Activity: flags.Launched, LastRequested: lately},
		"old": {Activity: flags.Inactive, LastRequested: long}, "demo": {Activity: flags.New},
	}, got)
	require.Empty(t, b.wire.changes())
}

func TestAllPagesOfEnvironmentsAreSeen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 130 { // more than a page
		b.server.Elsewhere(fmt.Sprintf("preview-%03d", i), plain, "off", harnessserver.Status{Status: "never-requested"})
	}
	got, err := b.provider.Elsewhere(t.Context(), plain)
	require.NoError(t, err)
	require.Len(t, got, 130)
}

// A list without an end, of environments that know nothing of the flag.
func TestAListThatIgnoresPagesIsReadOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/environmentsV2") {
			http.NotFound(w, r)
			return
		}
		if r.URL.Query().Has("environmentIdentifier") {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte(`{"status": "SUCCESS", "data": {"content": [{"environment": {"identifier": "production"}}, {"environment": {"identifier": "staging"}}]}}`))
	}))
	t.Cleanup(server.Close)
	b.config.APIURL = server.URL
	got, err := b.open(t, b.config).Elsewhere(t.Context(), plain)
	require.NoError(t, err)
	require.Empty(t, got)
}

// Nobody is called quiet because he can't be seen, nor is a flag taken to be gone.
func TestEnvironmentsThatCantBeListedAreNotPassedOver(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{http.StatusForbidden: flags.ErrUnauthorized, http.StatusNotFound: flags.ErrInvalid} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/environmentsV2") {
					w.WriteHeader(status)
					return
				}
				_, _ = w.Write([]byte(`{"features": [], "pageCount": 0}`))
			}))
			t.Cleanup(server.Close)
			b.config.APIURL = server.URL
			provider := b.open(t, b.config)
			_, elsewhere := provider.Elsewhere(t.Context(), plain)
			_, dependents := provider.Dependents(t.Context(), plain)
			for _, err := range []error{elsewhere, dependents} {
				requireDiscreet(t, err)
				require.ErrorIs(t, err, want)
				require.NotErrorIs(t, err, flags.ErrNotFound)
				require.ErrorContains(t, err, `environments of project "shop"`)
			}
		})
	}
}

func TestDependentsOfOtherEnvironmentsAreFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, key := range []string{"here", "there", "both", "gone"} {
		b.server.CreateFlag(key)
	}
	for _, key := range []string{"here", "both"} {
		b.instruct(t, key, `{"kind": "addPrerequisite", "parameters": {"feature": "plain", "variations": ["true"]}}`)
	}
	for _, key := range []string{"there", "both", "gone"} {
		b.server.Depend("staging", key, plain)
	}
	require.NoError(t, b.provider.Archive(t.Context(), "gone", ""))
	got, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, []string{"both", "here", "there (environment staging)"}, got)
}
