package activities

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/flags"
	"github.com/contraflow/contraflow/flags/launchdarkly"
	"github.com/contraflow/contraflow/plan"
	"github.com/contraflow/contraflow/signals"
)

// asking makes the activities ask for approvals in the flag service, where each change needs one.
func (b *bundle) asking(t *testing.T) {
	t.Helper()
	b.flagd.Require(1)
	provider, err := launchdarkly.New(t.Context(), launchdarkly.Config{APIURL: b.flagd.URL(), StreamURL: b.flagd.URL(),
		Token: apiToken, SDKKey: sdkKey, Project: "shop", Environment: "production", RequestApprovals: true})
	require.NoError(t, err)
	b.acts.Flags = func(plan.FlagScope) (flags.Provider, error) { return provider, nil }
}

// story collects what heartbeats say that a flag waits for, each text once.
type story struct {
	mu    sync.Mutex
	texts []string
}

func (s *story) hear(t *testing.T) func(json.RawMessage) {
	return func(raw json.RawMessage) {
		var beats []signals.Blocked
		if json.Unmarshal(raw, &beats) != nil || len(beats) == 0 || beats[0].Text == "" {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if !slices.Contains(s.texts, beats[0].Text) {
			s.texts = append(s.texts, beats[0].Text)
		}
	}
}

func (s *story) told() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.texts, "\n")
}

// background does f beside the test and returns its error when asked.
func background(f func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return func() error { return <-done }
}

func TestAStepWaitsForTheApprovalThatItAskedFor(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.asking(t)
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, begun.flag("write-new", writeNew, 10), call{onAir: heard.hear(t)})
		return err
	})
	require.Eventually(t, func() bool { return strings.Contains(heard.told(), "approve the request") }, patience, look)
	require.Contains(t, heard.told(), `flag "`+writeNew+`" waits for an approval`)
	require.Contains(t, heard.told(), "1 approval (service launchdarkly)")
	filed := b.flagd.Approvals(writeNew)
	require.Len(t, filed, 1)
	require.Contains(t, filed[0].Description, "migration m, step write-new, plan hash "+plan.ShortHash(begun.Hash))
	require.Equal(t, -1, b.percent(t, writeNew))

	b.flagd.Review(writeNew, "erika", "approve")
	require.NoError(t, wait())
	require.Equal(t, 10, b.percent(t, writeNew))
	require.Len(t, b.flagd.Approvals(writeNew), 1, "the same request, however often it looked")
}

func TestAStepWaitsForSomebodyToMakeTheChange(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.flagd.Require(1)
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, begun.flag("write-new", writeNew, 100), call{onAir: heard.hear(t)})
		return err
	})
	require.Eventually(t, func() bool { return strings.Contains(heard.told(), "make the change there") }, patience, look)
	b.instruct(t, writeNew, `{"kind": "turnFlagOn"}`) // as a person with the right to
	require.NoError(t, wait())
	require.Equal(t, 100, b.percent(t, writeNew))
}

func TestAStrangersChangeDuringTheWaitIsSeen(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.asking(t)
	var heard story
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, begun.flag("write-new", writeNew, 10), call{onAir: heard.hear(t)})
		return err
	})
	require.Eventually(t, func() bool { return len(b.flagd.Approvals(writeNew)) == 1 }, patience, look)
	b.instruct(t, writeNew, `{"kind": "turnFlagOn"}`)
	requirePermanent(t, wait(), "Stranger", "changed by someone else (the default rule serves something else)")
	require.Equal(t, 100, b.percent(t, writeNew))
}

func TestAWaitThatOutlastsItsAttemptGoesOnInTheNext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), approvalMargin-time.Second)
	defer cancel()
	told := waitingFlag(FlagInput{Origin: Origin{Step: "write-new"}, Key: writeNew})
	_, err := whenApproved(ctx, told, func(context.Context) (FlagNow, error) {
		return FlagNow{}, &flags.ApprovalRequired{Key: writeNew, Who: "erika"}
	})
	require.Equal(t, approvalPoll, requireRetryable(t, fail(ctx, err), "waits for an approval", "erika"))
	require.Equal(t, signals.Blocked{Step: "write-new", Text: `flag "` + writeNew + `" waits for an approval in the flag service: erika`}, told.get())
}

func TestADeclinedApprovalFailsTheStepAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.asking(t)
	wait := background(func() error {
		_, err := b.apply(t, begun.flag("write-new", writeNew, 10))
		return err
	})
	require.Eventually(t, func() bool { return len(b.flagd.Approvals(writeNew)) == 1 }, patience, look)
	b.flagd.Review(writeNew, "erika", "decline")
	requirePermanent(t, wait(), "Flag", "was declined")
	_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err, "there is nothing to put back, so nothing to approve")
	require.Empty(t, b.flagd.Approvals(writeNew))
	require.Equal(t, -1, b.percent(t, writeNew))
}

func TestCompensationTakesBackWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	b, begun := begunShop(t)
	b.asking(t)
	stop := make(chan struct{})
	wait := background(func() error {
		_, err := run[FlagNow](t, b, b.acts.ApplyFlag, begun.flag("write-new", writeNew, 10), call{stop: stop})
		return err
	})
	require.Eventually(t, func() bool { return len(b.flagd.Approvals(writeNew)) == 1 }, patience, look)
	close(stop) // the worker stops in the middle of the wait
	pause := requireRetryable(t, wait(), "another goes on")
	require.Equal(t, time.Millisecond, pause)
	_, err := b.restore(t, begun.flag("write-new", writeNew, 0))
	require.NoError(t, err)
	require.Empty(t, b.flagd.Approvals(writeNew), "nobody can approve it any more")
}

func TestAPlanWhoseFlagsCannotBeChangedIsRefusedAtItsStart(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		given func(*testing.T, *bundle)
		says  string
	}{
		"a right is missing":    {func(_ *testing.T, b *bundle) { b.flagd.Deny("updateFallthrough") }, `action "updateFallthrough"`},
		"a change is scheduled": {func(_ *testing.T, b *bundle) { b.flagd.Schedule(writeNew, time.Now().Add(time.Hour)) }, "scheduled for"},
		"it is not there":       {func(t *testing.T, b *bundle) { b.rest(t, http.MethodDelete, "/api/v2/flags/shop/"+writeNew, "") }, "create the flag"},
		"it is archived":        {func(t *testing.T, b *bundle) { b.patch(t, writeNew, `{"instructions": [{"kind": "archiveFlag"}]}`) }, "unarchive it"},
		"it is rolled out by another kind": {func(t *testing.T, b *bundle) {
			b.instruct(t, writeNew, `{"kind": "turnFlagOn"}, {"kind": "updateFallthroughVariationOrRollout", "rolloutContextKind": "device",
				"rolloutWeights": {"`+b.variation(t, writeNew, 0)+`": 5000, "`+b.variation(t, writeNew, 1)+`": 95000}}`)
		}, "contextKind"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			c.given(t, b)
			before, _ := b.flagd.Snapshot(writeNew)
			_, err := b.begin(t, shopPlan, "run-1")
			requirePermanent(t, err, "Flag", c.says)
			after, _ := b.flagd.Snapshot(writeNew)
			require.Equal(t, before, after)
			require.False(t, b.has(t, "contraflow.migration") && one[int](t, b, "select count(*)::int from contraflow.migration") > 0)
		})
	}
}

func TestAPlanWhoseFlagsNeedApprovalsSaysSoAtItsStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.flagd.Require(2)
	_, err := b.begin(t, shopPlan, "run-1")
	require.NoError(t, err, "it will wait")
	require.Equal(t, 2, one[int](t, b, `select count(*)::int from contraflow.audit where event = 'flag will wait' and detail like '%2 approvals%'`))
}
