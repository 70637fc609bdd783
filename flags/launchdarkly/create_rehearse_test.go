package launchdarkly_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

// rehearseCreate of a flag that is missing, to the end of its rollout.
func (b bundle) rehearseCreate(t *testing.T, f flags.NewFlag) error {
	t.Helper()
	err := b.provider.RehearseCreate(t.Context(), "made", f, []flags.Change{{Percent: 10}, {Percent: 100}})
	require.Empty(t, b.wire.all(http.MethodPost, ""), "nothing is made")
	require.Empty(t, b.wire.patches(), "nor changed")
	return err
}

func TestATokenOfAReaderMakesNoFlags(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, role := range []string{"writer", "admin", "owner"} {
		b.server.Role(role)
		require.NoError(t, b.rehearseCreate(t, flags.NewFlag{}), role)
	}
	b.server.Role("", "custom-role-id")
	require.NoError(t, b.rehearseCreate(t, flags.NewFlag{}), "what custom roles allow is not guessed")

	b.server.Role("reader")
	err := b.rehearseCreate(t, flags.NewFlag{})
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, `"createFlag"`)
	requireDiscreet(t, err)
	require.NoError(t, b.provider.RehearseCreate(t.Context(), plain, flags.NewFlag{}, nil), "nobody has to make what is there")
}

// An answer that does not tell is none.
func TestATokenThatCantBeLookedUpPasses(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{"itself": "/api/v2/caller-identity", "its role": "/api/v2/tokens/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.server.Role("reader")
			answer, times := http.StatusServiceUnavailable, 2
			b.wire.instead = func(r *http.Request) *http.Response {
				if !strings.HasPrefix(r.URL.Path, path) || times == 0 {
					return nil
				}
				times--
				return &http.Response{StatusCode: answer, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{}"))}
			}
			require.ErrorIs(t, b.rehearseCreate(t, flags.NewFlag{}), flags.ErrUnauthorized, "it is asked again when it has trouble")
			for _, answer = range []int{http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusOK} {
				times = 1
				require.NoError(t, b.rehearseCreate(t, flags.NewFlag{}), answer)
				require.Zero(t, times)
			}
		})
	}
}

func TestANewFlagMayNeedApproval(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, tags := range map[string][]string{
		"all flags": nil, "those with its tag": {"contraflow"},
	} {
		b.server.Require(2, tags...)
		err := b.rehearseCreate(t, flags.NewFlag{Tags: []string{"contraflow"}})
		required, ok := errors.AsType[*flags.ApprovalRequired](err)
		require.True(t, ok, "%s: %v", name, err)
		require.Equal(t, "made", required.Key)
		require.Contains(t, required.Who, "2 approvals")
		require.NoError(t, b.provider.RehearseCreate(t.Context(), "made", flags.NewFlag{Tags: []string{"contraflow"}}, nil), "to be made it needs none")
	}
	b.server.Require(2, "others")
	require.NoError(t, b.rehearseCreate(t, flags.NewFlag{Tags: []string{"contraflow"}}))
}

func TestANewFlagNeedsItsEnvironmentAndAKey(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.config.Environment = "prodution"
	elsewhere := b.open(t, b.config)
	err := elsewhere.RehearseCreate(t.Context(), "made", flags.NewFlag{}, nil)
	require.ErrorIs(t, err, flags.ErrNotFound)
	require.ErrorContains(t, err, "prodution")
	for _, key := range []string{"", "two words", "a/b"} {
		require.ErrorIs(t, b.provider.RehearseCreate(t.Context(), key, flags.NewFlag{}, nil), flags.ErrInvalid, key)
	}
	err = b.provider.RehearseCreate(t.Context(), "made", flags.NewFlag{Migration: true, ContextKind: "account"},
		[]flags.Change{{Exclude: &flags.Context{Kind: "user", Key: "S3CRET"}}})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, `contexts of kind "account"`)
	require.NotContains(t, err.Error(), "S3CRET")
}
