package providers_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags/flagfile"
	"github.com/contraflow/contraflow/flags/harness"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/flags/postgres"
	"github.com/contraflow/contraflow/internal/config"
	"github.com/contraflow/contraflow/internal/devstack/pgtest"
	"github.com/contraflow/contraflow/internal/providers"
	"github.com/contraflow/contraflow/plan"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func load(t *testing.T, flags string, environment map[string]string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "worker.yaml")
	require.NoError(t, os.WriteFile(path, []byte("databases: {shop: {dsn: \"env:DSN\"}}\n"+flags), 0o600))
	c, _, err := config.LoadTargets(path, func(name string) string { return environment[name] })
	require.NoError(t, err)
	return c
}

var scope = plan.FlagScope{Project: "shop", Environment: "production"}

func TestEachKindIsMadeOnceForAnEnvironment(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "flags.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"flags": {}}`), 0o600))
	environment := map[string]string{"DSN": pgtest.New(t).DSN, "TOKEN": "t", "KEY": "k"}
	for flags, want := range map[string]any{
		"flags: {flagfile: {path: " + file + "}}":                                                 &flagfile.Provider{},
		"flags: {postgres: {database: shop}}":                                                     &postgres.Provider{},
		`flags: {launchdarkly: {token: "env:TOKEN", sdkKey: "env:KEY"}}`:                          &launchdarkly.Provider{},
		`flags: {harness: {apiKey: "env:TOKEN", sdkKey: "env:KEY", account: a, organization: o}}`: &harness.Provider{},
	} {
		set := providers.New(t.Context(), load(t, flags, environment))
		first, err := set.Find(scope)
		require.NoError(t, err, flags)
		require.IsType(t, want, first)
		again, err := set.Find(scope)
		require.NoError(t, err)
		require.Same(t, first, again)
		other, err := set.Find(plan.FlagScope{Project: "shop", Environment: "staging"})
		require.NoError(t, err)
		require.NotSame(t, first, other)
		set.Close()
	}
}

func TestWithoutAProviderThereIsNone(t *testing.T) {
	t.Parallel()
	set := providers.New(t.Context(), load(t, "", map[string]string{"DSN": "x"}))
	t.Cleanup(set.Close)
	_, err := set.Find(scope)
	require.ErrorIs(t, err, providers.ErrNone)
	set.Warm(t.Context())
}

func TestWarmingUpConnectsAndSendsNoSecret(t *testing.T) {
	t.Parallel()
	var heard []*http.Request
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard = append(heard, r)
		http.Redirect(w, r, "/login", http.StatusFound)
	}))
	t.Cleanup(api.Close)
	set := providers.New(t.Context(), load(t, `flags: {launchdarkly: {token: "env:TOKEN", sdkKey: "env:KEY", apiURL: "`+api.URL+`"}}`,
		map[string]string{"DSN": "x", "TOKEN": "t", "KEY": "k"}))
	t.Cleanup(set.Close)
	set.Warm(t.Context())
	require.Len(t, heard, 1, "it follows no redirection")
	require.Equal(t, http.MethodHead, heard[0].Method)
	require.Empty(t, heard[0].Header.Get("Authorization"))
	api.Close()
	set.Warm(t.Context())
}
