package launchdarkly_test

import (
	"net/http"
	"strconv"
	"strings"
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

func TestWhatNeedsAFlagInAnotherEnvironmentKeepsItFromBeingArchived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, key := range []string{"child", "gone"} {
		require.NoError(t, b.server.CreateFlag(key))
		b.server.Depend("staging", key, plain)
	}
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/gone", `{"instructions": [{"kind": "archiveFlag"}]}`)
	yes, _ := b.ids(t, plain)
	b.instruct(t, "child", `{"kind": "replacePrerequisites", "prerequisites": [{"key": "plain", "variationId": "`+yes+`"}]}`)
	needed, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
	require.Equal(t, []string{"child", "child (environment staging)"}, needed)
	b.instruct(t, "child", `{"kind": "replacePrerequisites", "prerequisites": []}`)
	err = b.provider.Archive(t.Context(), plain, note)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "is a prerequisite of child (environment staging): remove it there")

	// Where the role may not ask, the refusal says where to look.
	b.wire.instead = func(r *http.Request) *http.Response {
		if !strings.HasSuffix(r.URL.Path, "/dependent-flags") {
			return nil
		}
		return answered(http.StatusForbidden, "")
	}
	err = b.provider.Archive(t.Context(), plain, note)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, "in another")
	require.False(t, b.environment(t, plain).Archived)
}

func TestALimitOnTheWayBeginsNoListAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 700 {
		require.NoError(t, b.server.CreateFlag("flag-"+strconv.Itoa(100+i)))
	}
	limited := 0
	b.wire.instead = func(r *http.Request) *http.Response {
		if strings.HasSuffix(r.URL.Path, "/dependent-flags") {
			return answered(http.StatusForbidden, "")
		}
		if limited++; limited%4 == 0 {
			limit := answered(http.StatusTooManyRequests, "")
			limit.Header.Set("X-Ratelimit-Reset", "1") // long ago
			return limit
		}
		return nil
	}
	_, err := b.provider.Dependents(t.Context(), plain)
	require.NoError(t, err)
}
