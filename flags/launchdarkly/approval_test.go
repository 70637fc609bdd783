package launchdarkly_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
)

const (
	note        = "contraflow: migration m, step write-new, plan hash 0123abcd"
	requestPath = "/api/v2/projects/shop/flags/plain/environments/production/approval-requests"
)

// petitioner is a provider that files approval requests, in an environment that asks for one approval.
func petitioner(t *testing.T) (bundle, *launchdarkly.Provider) {
	t.Helper()
	b := setup(t)
	b.server.Require(1)
	b.config.RequestApprovals, b.config.NotifyTeams = true, []string{"release-team"}
	return b, b.open(t, b.config)
}

func (b bundle) apply(t *testing.T, p *launchdarkly.Provider, percent int) (flags.State, error) {
	t.Helper()
	return p.Apply(t.Context(), plain, flags.Change{Percent: percent}, note, nil)
}

// requireWaiting checks that a change waits for people, and returns what it says of them.
func requireWaiting(t *testing.T, err error) string {
	t.Helper()
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrApprovalRequired)
	var required *flags.ApprovalRequired
	require.ErrorAs(t, err, &required)
	require.Equal(t, plain, required.Key)
	return required.Who
}

func TestWithoutRequestsSomebodyMakesTheChange(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.server.Require(2)
	_, err := b.apply(t, b.provider, 100)
	who := requireWaiting(t, err)
	require.Contains(t, who, "2 approvals (service launchdarkly)")
	require.Contains(t, who, b.server.URL()+"/shop/production/features/plain")
	require.Contains(t, who, "make the change there")
	require.Empty(t, b.server.Approvals(plain))

	b.instruct(t, plain, `{"kind": "turnFlagOn"}`) // by a person
	state, err := b.apply(t, b.provider, 100)
	require.NoError(t, err)
	require.Equal(t, "on: 100 % true", state.Summary)
	require.Len(t, b.wire.patches(), 1)
}

func TestAnApprovedRequestIsApplied(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	application := b.application(t)
	for range 3 { // as often as the change is tried
		_, err := b.apply(t, p, 50)
		who := requireWaiting(t, err)
		require.Contains(t, who, "team release-team")
		require.Contains(t, who, "approve the request "+b.server.Approvals(plain)[0].ID)
	}
	filed := b.server.Approvals(plain)
	require.Len(t, filed, 1, "once")
	require.Contains(t, filed[0].Description, note+": change ")
	posts := b.wire.all(http.MethodPost, requestPath)
	require.Len(t, posts, 1)
	require.Equal(t, "application/json", posts[0].header.Get("Content-Type"))
	require.Contains(t, posts[0].body, `"notifyTeamKeys":["release-team"]`)
	require.Contains(t, posts[0].body, `"comment":"`+note+`"`)
	require.Contains(t, posts[0].body, `"updateFallthroughVariationOrRollout"`)

	b.server.Review(plain, "erika", "approve")
	state, err := b.apply(t, p, 50)
	require.NoError(t, err)
	require.Equal(t, "on: 50 % true", state.Summary)
	require.Equal(t, "completed", b.server.Approvals(plain)[0].Status)
	require.Len(t, application.AllFlagsState(someone).ToValuesMap(), 1)

	// What was carried out once says nothing about the next time.
	b.instruct(t, plain, `{"kind": "turnFlagOff"}`)
	_, err = b.apply(t, p, 50)
	requireWaiting(t, err)
	require.Len(t, b.server.Approvals(plain), 2)
}

func TestADeclinedRequestIsFinal(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.server.Review(plain, "erika", "decline")
	_, err = b.apply(t, p, 50)
	requireDiscreet(t, err)
	require.ErrorIs(t, err, flags.ErrDeclined)
	require.True(t, flags.Permanent(err))
	require.NotErrorIs(t, err, flags.ErrApprovalRequired)
	require.False(t, b.environment(t, plain).On)

	require.NoError(t, p.Withdraw(t.Context(), plain, note)) // as compensation does
	_, err = b.apply(t, p, 50)
	requireWaiting(t, err) // a migration that is started again asks anew
}

func TestALostAnswerToARequestFilesNoSecond(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.wire.lose = func(r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/approval-requests") && r.Method == http.MethodPost
	}
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	require.Len(t, b.server.Approvals(plain), 1)
}

func TestKilledWhileARequestIsFiled(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	ctx, kill := context.WithCancel(t.Context())
	b.wire.lose = func(r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		kill()
		return true
	}
	_, err := p.Apply(ctx, plain, flags.Change{Percent: 50}, note, nil)
	require.Error(t, err)
	require.Len(t, b.server.Approvals(plain), 1, "it had got through")

	b.wire.lose = nil
	next := b.open(t, b.config) // another process
	_, err = b.apply(t, next, 50)
	requireWaiting(t, err)
	require.Len(t, b.server.Approvals(plain), 1)
}

func TestALostAnswerToApplyingIsNoSecondChange(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.server.Review(plain, "erika", "approve")
	b.wire.lose = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/apply") }
	state, err := b.apply(t, p, 50)
	require.NoError(t, err)
	require.Equal(t, "on: 50 % true", state.Summary)
	require.Len(t, b.wire.all(http.MethodPost, "/apply"), 1)
}

func TestAnApprovedRequestIsNotAppliedToAnotherFlagThanItWasMadeFor(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.server.Review(plain, "erika", "approve")
	// Somebody turns the flag on after we have looked, and before we apply.
	b.wire.instead = func(r *http.Request) *http.Response {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/approval-requests") {
			b.instruct(t, plain, `{"kind": "turnFlagOn"}`)
		}
		return nil
	}
	stranger := errors.New("that is not what it was")
	still := func(_ context.Context, found flags.State) error {
		if found.On {
			return fmt.Errorf("%w: %w", stranger, flags.ErrStranger)
		}
		return nil
	}
	_, err = p.Apply(t.Context(), plain, flags.Change{Percent: 50}, note, still)
	require.ErrorIs(t, err, stranger)
	require.Empty(t, b.wire.all(http.MethodPost, "/apply"))
}

func TestALostAnswerToTakingARequestBackIsNoTrouble(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.wire.lose = func(r *http.Request) bool { return r.Method == http.MethodDelete }
	require.NoError(t, p.Withdraw(t.Context(), plain, note))
	require.Empty(t, b.server.Approvals(plain))
	require.Len(t, b.wire.all(http.MethodDelete, ""), 1)
}

func TestARequestThatSomebodyAppliedIsDone(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.server.Review(plain, "erika", "approve")
	b.rest(t, http.MethodPost, requestPath+"/"+b.server.Approvals(plain)[0].ID+"/apply", "{}")
	_, err = b.apply(t, p, 50)
	require.NoError(t, err)
	require.Empty(t, b.wire.all(http.MethodPost, "/apply"))
}

func TestARequestThatTheTokenMayNotApplyWaitsForSomebody(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.server.Deny("applyApprovalRequest")
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	b.server.Review(plain, "erika", "approve")
	_, err = b.apply(t, p, 50)
	require.Contains(t, requireWaiting(t, err), "applyApprovalRequest")
}

func TestARequestThatNobodyNeedsAnyMoreIsTakenBack(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.rest(t, http.MethodPost, requestPath, `{"description": "of somebody else", "instructions": [{"kind": "turnFlagOn"}]}`)
	off, err := p.Get(t.Context(), plain)
	require.NoError(t, err)
	_, err = b.apply(t, p, 100)
	requireWaiting(t, err)
	_, err = b.apply(t, p, 50) // another stage asks for something else
	requireWaiting(t, err)
	require.Len(t, b.server.Approvals(plain), 2)

	b.instruct(t, plain, `{"kind": "turnFlagOn"}`) // somebody makes the change by hand
	ours, err := b.apply(t, p, 100)
	require.NoError(t, err)
	require.Len(t, b.server.Approvals(plain), 1, "approved later, it would undo what follows")

	_, err = p.Restore(t.Context(), plain, off, ours, note+", compensation", nil)
	requireWaiting(t, err)
	require.NoError(t, p.Withdraw(t.Context(), plain, note))
	require.Len(t, b.server.Approvals(plain), 2, "the compensation's own is under another note")
	b.server.Review(plain, "erika", "approve")
	restored, err := p.Restore(t.Context(), plain, off, ours, note+", compensation", nil)
	require.NoError(t, err)
	require.True(t, restored.Equal(off))
	require.NoError(t, p.Withdraw(t.Context(), "absent", note), "nothing is left to take back")
}

func TestARequestThatCannotBeAppliedAnyMoreIsNamed(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := b.apply(t, p, 50)
	requireWaiting(t, err)
	failed := b.server.Approvals(plain)[0].ID
	b.server.Fail(plain)
	_, err = b.apply(t, p, 50)
	require.ErrorIs(t, err, flags.ErrInvalid)
	require.ErrorContains(t, err, failed)
	_, err = b.apply(t, p, 50)
	requireWaiting(t, err) // a retry asks anew
	require.Len(t, b.server.Approvals(plain), 1)
	require.NotEqual(t, failed, b.server.Approvals(plain)[0].ID)
}

func TestAnApprovalThatIsNotRequiredAnyMoreIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	for range 2 {
		_, err := b.apply(t, p, 50)
		requireWaiting(t, err)
	}
	require.Len(t, b.wire.patches(), 1, "it is not tried again while people decide")
	b.server.Require(0)
	_, err := b.apply(t, p, 50)
	require.NoError(t, err)
	require.Empty(t, b.server.Approvals(plain))
}

func TestArchivingWaitsForPeopleToo(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	err := p.Archive(t.Context(), plain, note)
	require.Contains(t, requireWaiting(t, err), "archive it there")
	b.rest(t, http.MethodPatch, "/api/v2/flags/shop/plain", `{"instructions": [{"kind": "archiveFlag"}]}`)
	require.NoError(t, p.Archive(t.Context(), plain, note))
}

func TestNoRequestIsFiledTooLate(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	_, err := p.Apply(frozen{t.Context()}, plain, flags.Change{Percent: 50}, note, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, b.server.Approvals(plain))
}

// ServiceNow and its like want fields of their own with each request, which nobody here knows.
func TestNoRequestIsFiledWithAnotherServiceThanLaunchDarklys(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.server.ApproveBy("servicenow")
	require.ErrorIs(t, p.Rehearse(t.Context(), plain, flags.Change{Percent: 50}), flags.ErrApprovalRequired)
	for range 2 {
		_, err := b.apply(t, p, 50)
		who := requireWaiting(t, err)
		require.Contains(t, who, "service servicenow")
		require.Contains(t, who, "ask servicenow there for the change")
	}
	require.Empty(t, b.wire.all(http.MethodPost, requestPath))
	b.instruct(t, plain, `{"kind": "turnFlagOn"}, {"kind": "updateFallthroughVariationOrRollout", "rolloutWeights": `+b.weights(t, 50)+`}`)
	_, err := b.apply(t, p, 50)
	require.NoError(t, err)
}

// weights of the true and the false variation.
func (b bundle) weights(t *testing.T, percent int) string {
	t.Helper()
	yes, no := b.ids(t, plain)
	return fmt.Sprintf(`{%q: %d, %q: %d}`, yes, percent*1000, no, 100_000-percent*1000)
}

func TestATeamThatMaintainsAFlagIsNotified(t *testing.T) {
	t.Parallel()
	b, p := petitioner(t)
	b.rest(t, http.MethodPost, "/api/v2/flags/shop", `{"key": "theirs", "name": "Theirs", "maintainerTeamKey": "shop-team"}`)
	_, err := p.Apply(t.Context(), "theirs", flags.Change{Percent: 50}, note, nil)
	var required *flags.ApprovalRequired
	require.ErrorAs(t, err, &required)
	require.Contains(t, required.Who, "team release-team, shop-team")
	posts := b.wire.all(http.MethodPost, "/approval-requests")
	require.Len(t, posts, 1)
	require.Contains(t, posts[0].body, `"notifyTeamKeys":["release-team","shop-team"]`)
	require.NotContains(t, posts[0].body, "notifyMemberIds")
}
