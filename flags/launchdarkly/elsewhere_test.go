package launchdarkly_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

func TestOtherEnvironmentsAreAskedFor(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got, err := b.provider.Elsewhere(t.Context(), plain)
	require.NoError(t, err)
	require.Empty(t, got, "its own is not among them")
	asked := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.server.Elsewhere("staging", plain, "active", asked)
	b.server.Elsewhere("test", plain, "new", time.Time{})
	got, err = b.provider.Elsewhere(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, map[string]flags.Status{"staging": {Activity: flags.Active, LastRequested: asked}, "test": {Activity: flags.New}}, got)

	_, err = b.provider.Elsewhere(t.Context(), "absent")
	require.ErrorIs(t, err, flags.ErrNotFound)
	b.wire.instead = func(*http.Request) *http.Response { return answered(http.StatusUnauthorized, "") }
	_, err = b.provider.Elsewhere(t.Context(), plain)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
}

// Without the header LaunchDarkly refuses, and every look would read all flags of the project.
func TestDependentsAreAskedForAsABetaResource(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
	asked := b.wire.all(http.MethodGet, "/dependent-flags")
	require.Len(t, asked, 1)
	require.Equal(t, []string{"beta"}, asked[0].header.Values("LD-API-Version"))
	require.Empty(t, b.wire.all(http.MethodGet, "summary=0"))
}
