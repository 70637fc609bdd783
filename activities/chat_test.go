package activities

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/devstack/temporaltest"
	"github.com/contraflow/contraflow/internal/slackcard"
	"github.com/contraflow/contraflow/signals"
)

const channel = "C0SHOP"

// chatting is a bundle whose activities speak to a chat of their own.
func chatting(t *testing.T) (*bundle, *chatserver.Server) {
	t.Helper()
	chat := chatserver.New(chatserver.Options{Token: slackToken, SigningSecret: "S3CRET-SIGNING", People: []chatserver.Person{{ID: "U0ALICE", Name: "alice"}}})
	require.NoError(t, chat.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = chat.Close() })
	b := &bundle{acts: &Activities{Chat: &Chat{
		Poster: slackcard.NewPoster(slack.New(slackToken, slack.OptionAPIURL(chat.APIURL()))), Channel: channel,
		WorkflowURL: func(migration, run string) string { return "http://ui/" + migration + "/" + run }, patience: patience,
	}}}
	return b, chat
}

func aCard() Card {
	return Card{
		Origin:      Origin{Migration: "m", FirstRun: "run-1", Plan: "split-customer-address", PlanHash: "0123456789abcdef", Step: "cutover"},
		Description: "Split it.", Evidence: []Evidence{{Name: "prove", Value: "0 (at most 0)"}}, State: "waiting",
		Approval: signals.ApprovalStatus{Step: "cutover", By: []string{"alice", "bob"}, Quorum: 1, Deadline: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
	}
}

func (b *bundle) post(t *testing.T, card Card) (CardRef, error) {
	t.Helper()
	return run[CardRef](t, b, b.acts.PostCard, card, call{})
}

func TestACardIsPostedAndClosed(t *testing.T) {
	t.Parallel()
	b, chat := chatting(t)
	card := aCard()
	ref, err := b.post(t, card)
	require.NoError(t, err)
	require.Equal(t, channel, ref.Channel)
	posted := chat.Messages()
	require.Len(t, posted, 1)
	require.Len(t, posted[0].Buttons, 2)

	card.Ref, card.State = ref, "approved"
	card.Approval.Decisions = []signals.Decision{{By: "alice", Verdict: signals.Approved, Reason: "seen it"}}
	for range 2 {
		_, err = run[any](t, b, b.acts.UpdateCard, card, call{})
		require.NoError(t, err)
	}
	closed := chat.Messages()
	require.Len(t, closed, 1)
	require.Empty(t, closed[0].Buttons, "nobody can decide any more")
	require.Contains(t, closed[0].Text, "Approved")

	_, err = run[any](t, b, b.acts.PostNotice, NoticeInput{Origin: card.Origin, Kind: "completed", Text: "done", Ref: ref}, call{})
	require.NoError(t, err)
	_, err = run[any](t, b, b.acts.PostNotice, NoticeInput{Origin: card.Origin, Kind: "stuck", Text: "needs you"}, call{})
	require.NoError(t, err)
	all := chat.Messages()
	require.Len(t, all, 3)
	require.Equal(t, []string{ref.TS, ""}, []string{all[1].ThreadTS, all[2].ThreadTS})
	require.Contains(t, all[1].Text, "Completed")
	require.Contains(t, all[2].Text, "Stuck")
}

func TestWithoutAChatNothingIsPosted(t *testing.T) {
	t.Parallel()
	b := &bundle{acts: &Activities{}}
	ref, err := b.post(t, aCard())
	require.NoError(t, err)
	require.Empty(t, ref)
	_, err = run[any](t, b, b.acts.UpdateCard, aCard(), call{})
	require.NoError(t, err)
	_, err = run[any](t, b, b.acts.PostNotice, NoticeInput{Text: "x"}, call{})
	require.NoError(t, err)
}

func TestAnAttemptWhoseAnswerWasLostPostsOneCard(t *testing.T) {
	t.Parallel()
	b, chat := chatting(t)
	chat.Inject(chatserver.Fault{Method: "chat.postMessage", Status: http.StatusBadGateway, After: true})
	c, queue := temporaltest.Client(t), temporaltest.TaskQueue(t)
	posts := func(ctx workflow.Context, card Card) (ref CardRef, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: 10 * time.Millisecond}})
		var a *Activities
		return ref, workflow.ExecuteActivity(ctx, a.PostCard, card).Get(ctx, &ref)
	}
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflowWithOptions(posts, workflow.RegisterOptions{Name: "posts"})
	w.RegisterActivity(b.acts)
	require.NoError(t, w.Start())
	defer w.Stop()
	begun, err := c.ExecuteWorkflow(t.Context(), startOptions(queue), "posts", aCard())
	require.NoError(t, err)
	var ref CardRef
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, begun.Get(ctx, &ref))
	posted := chat.Messages()
	require.Len(t, posted, 1)
	require.Equal(t, posted[0].TS, ref.TS)
}

func TestAChatThatRefusesIsTriedAgainOrNot(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		fault chatserver.Fault
		check func(*testing.T, error)
	}{
		"it limits the rate": {chatserver.Fault{Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second},
			func(t *testing.T, err error) { require.Equal(t, 30*time.Second, requireRetryable(t, err)) }},
		"it is ill": {chatserver.Fault{Status: http.StatusServiceUnavailable},
			func(t *testing.T, err error) { require.Zero(t, requireRetryable(t, err)) }},
		"the scope is missing": {chatserver.Fault{Error: "missing_scope"},
			func(t *testing.T, err error) { requirePermanent(t, err, "Chat", "add the scope") }},
		"the token is wrong": {chatserver.Fault{Error: "invalid_auth"},
			func(t *testing.T, err error) { requirePermanent(t, err, "Chat", "valid bot token") }},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			b, chat := chatting(t)
			ref, err := b.post(t, aCard())
			require.NoError(t, err)
			card := aCard()
			card.Ref = ref
			for _, do := range []func() error{
				func() error { _, err := b.post(t, aCard()); return err },
				func() error { _, err := run[any](t, b, b.acts.UpdateCard, card, call{}); return err },
				func() error {
					_, err := run[any](t, b, b.acts.PostNotice, NoticeInput{Origin: card.Origin, Text: "news", Ref: ref}, call{})
					return err
				},
			} {
				chat.Inject(c.fault)
				c.check(t, do())
			}
		})
	}
	t.Run("it is away", func(t *testing.T) {
		t.Parallel()
		b, chat := chatting(t)
		require.NoError(t, chat.Close())
		_, err := b.post(t, aCard())
		requireRetryable(t, err, "post to Slack channel")
	})
}
