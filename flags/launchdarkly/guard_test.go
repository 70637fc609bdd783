package launchdarkly_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
)

func TestOnlyTaggedFlagsNeedApprovalWhereTagsAreNamed(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.server.Require(1, "guarded")
	b.rest(t, http.MethodPost, "/api/v2/flags/shop", `{"key": "tagged", "name": "Tagged", "tags": ["guarded"]}`)
	require.NoError(t, p.Rehearse(t.Context(), plain, flags.Change{Percent: 50}))
	_, err := b.apply(t, p, 50)
	require.NoError(t, err)

	require.ErrorIs(t, p.Rehearse(t.Context(), "tagged", flags.Change{Percent: 50}), flags.ErrApprovalRequired)
	for range 2 {
		_, err = p.Apply(t.Context(), "tagged", flags.Change{Percent: 50}, note, nil)
		require.ErrorIs(t, err, flags.ErrApprovalRequired)
		require.Len(t, b.server.Approvals("tagged"), 1)
	}
	b.server.Review("tagged", "erika", "approve")
	_, err = p.Apply(t.Context(), "tagged", flags.Change{Percent: 50}, note, nil)
	require.NoError(t, err)
	require.Empty(t, b.wire.all(http.MethodDelete, ""))
	require.True(t, b.environment(t, "tagged").On)
}

// The environment's settings may say what they like: only a change that went through proves that it needs no approval.
func TestARequestStaysWhereItIsUntilTheChangeIsMade(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/environments/production") {
			return answered(http.StatusOK, `{"key": "production", "approvalSettings": {"required": false}}`)
		}
		return nil
	}
	for range 2 {
		_, err := b.apply(t, p, 50)
		requireWaiting(t, err)
	}
	b.server.Review(plain, "erika", "approve")
	_, err := b.apply(t, p, 50)
	require.NoError(t, err)
	require.Empty(t, b.wire.all(http.MethodDelete, ""))
	require.Len(t, b.wire.all(http.MethodPost, requestPath), 1)
	require.True(t, b.environment(t, plain).On)
}

func TestAWaitForApprovalAsksForNothingTwice(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	before := len(b.wire.all(http.MethodGet, ""))
	_, err = b.apply(t, p, 50)
	requireWaiting(t, err)
	require.Equal(t, 3, len(b.wire.all(http.MethodGet, ""))-before, "the flag, its requests, the settings")
}

func TestOfTwoRequestsForTheSameTheApprovedOneIsApplied(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.rest(t, http.MethodPost, requestPath, b.wire.all(http.MethodPost, requestPath)[0].body) // a frozen attempt's
	two := b.server.Approvals(plain)
	b.server.Review(plain, "erika", "approve")
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/approval-requests") {
			return nil
		}
		const item = `{"_id": %q, "description": %q, "reviewStatus": %q, "status": "pending"}`
		return answered(http.StatusOK, fmt.Sprintf(`{"items": [`+item+`, `+item+`]}`,
			two[0].ID, two[0].Description, "pending", two[1].ID, two[1].Description, "approved"))
	}
	_, err = b.apply(t, p, 50)
	require.NoError(t, err)
	applied := b.wire.all(http.MethodPost, "/apply")
	require.Len(t, applied, 1)
	require.Contains(t, applied[0].target, two[1].ID)
}

func TestAnOwnRequestThatIsInTheWayOfTheChangeGivesWay(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.server.Require(0)
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method != http.MethodPatch || len(b.server.Approvals(plain)) == 0 {
			return nil
		}
		return answered(http.StatusBadRequest, `{"code": "invalid_request", "message": "a pending approval request would fail"}`)
	}
	state, err := b.apply(t, p, 50)
	require.NoError(t, err)
	require.Equal(t, "on: 50 % true", state.Summary)
	require.Empty(t, b.server.Approvals(plain))
}

// A 405 is LaunchDarkly's word for a missing approval where a flag is changed, and has its code; firewalls answer it as well.
func TestAMethodThatIsRefusedOnTheWayIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPatch} {
		b := setup(t)
		b.wire.instead = func(r *http.Request) *http.Response {
			if r.Method != method || r.URL.Path != "/api/v2/flags/shop/plain" {
				return nil
			}
			return answered(http.StatusMethodNotAllowed, "<html>405 Not Allowed</html>")
		}
		_, err := b.apply(t, b.provider, 50)
		for _, err := range []error{err, b.provider.Rehearse(t.Context(), plain, flags.Change{Percent: 50}), b.provider.Archive(t.Context(), plain, "")} {
			requireDiscreet(t, err)
			require.ErrorIs(t, err, flags.ErrInvalid)
			require.NotErrorIs(t, err, flags.ErrApprovalRequired)
			require.ErrorContains(t, err, "takes a "+method)
		}
	}
	b := setup(t)
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method != http.MethodPost {
			return nil
		}
		return answered(http.StatusMethodNotAllowed, `{"code": "method_not_allowed"}`)
	}
	err := b.provider.Create(t.Context(), "new", flags.NewFlag{})
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.NotErrorIs(t, err, flags.ErrApprovalRequired)

	for _, tags := range [][]string{nil, {"guarded"}} {
		b := setup(t) // whose answers' bodies are lost on the way
		b.server.Require(1, tags...)
		b.wire.instead = onChange(http.StatusMethodNotAllowed, "")
		_, err = b.apply(t, b.provider, 50)
		require.ErrorIs(t, err, flags.ErrApprovalRequired)
	}
}

func TestATokenThatIsValidAndLacksARightIsToldSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wire.instead = onChange(http.StatusUnauthorized, `{"code": "unauthorized", "message": "Invalid access token"}`)
	_, err := b.apply(t, b.provider, 50)
	require.ErrorIs(t, err, flags.ErrUnauthorized)
	require.ErrorContains(t, err, `renew the API token if it is not valid any more, or give it the rights to read and update flags of project "shop"`)
}
