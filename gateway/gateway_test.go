package gateway_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/gateway"
	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/slackcard"
)

const (
	token   = "xoxb-test"
	secret  = "8f742231b10e8888abcd99yyyzzz85a5"
	alice   = "U0ALICE"
	mallory = "U0MALLORY"
	approve = "contraflow_approve"
	reject  = "contraflow_reject"
	soon    = 30 * time.Second
	tick    = 5 * time.Millisecond
)

// decider records decisions; answer says what each call returns.
type decider struct {
	mu     sync.Mutex
	got    []gateway.Decision
	answer func(ctx context.Context, call int) error
}

func (d *decider) Decide(ctx context.Context, decision gateway.Decision) error {
	d.mu.Lock()
	d.got = append(d.got, decision)
	call := len(d.got)
	d.mu.Unlock()
	if d.answer == nil {
		return nil
	}
	return d.answer(ctx, call)
}

func (d *decider) decisions() []gateway.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]gateway.Decision(nil), d.got...)
}

type bundle struct {
	chat    *chatserver.Server
	poster  *slackcard.Poster
	gateway *gateway.Gateway
	decider *decider
	url     string // of the gateway's interactions
	card    slackcard.Approval
	ref     slackcard.Ref
}

// setup posts a waiting card; every interaction reaches the gateway `deliveries` times.
func setup(t *testing.T, deliveries int) *bundle {
	t.Helper()
	b := &bundle{decider: &decider{}}
	b.chat = chatserver.New(chatserver.Options{
		Token: token, SigningSecret: secret, PressTimeout: 2 * soon,
		People: []chatserver.Person{{ID: alice, Name: "alice"}, {ID: "U0BOB", Name: "bob"}, {ID: mallory, Name: "mallory"}},
	})
	require.NoError(t, b.chat.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = b.chat.Close() })
	client := slack.New(token, slack.OptionAPIURL(b.chat.APIURL()))
	b.poster = slackcard.NewPoster(client)

	var err error
	b.gateway, err = gateway.New(gateway.Config{
		SigningSecret: secret, People: map[string]string{alice: "alice", "U0BOB": "bob"}, Decider: b.decider, Slack: client,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.gateway.Close(context.Background()) })
	server := httptest.NewServer(repeat(b.gateway.Handler(), deliveries))
	t.Cleanup(server.Close)
	b.url = server.URL + gateway.InteractionsPath
	b.chat.SetInteractionsURL(b.url)

	b.card = slackcard.Approval{
		Migration: "contraflow-split-customer-address", Plan: "split-customer-address", PlanHash: "9f2c4e", Step: "cutover",
		Approvers: []string{"alice", "bob"}, Quorum: 1, Deadline: time.Now().Add(time.Hour), State: slackcard.StateWaiting,
	}
	b.ref, err = b.poster.Post(t.Context(), "#migrations", b.card)
	require.NoError(t, err)
	return b
}

// repeat delivers each request n times, byte for byte, and answers with the last answer.
func repeat(next http.Handler, n int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for i := range n {
			again := r.Clone(r.Context())
			again.Body = io.NopCloser(bytes.NewReader(body))
			if i == n-1 {
				next.ServeHTTP(w, again)
				return
			}
			next.ServeHTTP(httptest.NewRecorder(), again)
		}
	})
}

// whispers are the texts only this person sees.
func (b *bundle) whispers(user string) []string {
	var texts []string
	for _, m := range b.chat.Messages() {
		if m.EphemeralTo == user {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

func (b *bundle) waitForWhisper(t *testing.T, user string) string {
	t.Helper()
	require.Eventually(t, func() bool { return len(b.whispers(user)) > 0 }, soon, tick)
	return b.whispers(user)[0]
}

func TestAClickDeliveredTwiceIsOneDecision(t *testing.T) {
	t.Parallel()
	b := setup(t, 2)
	require.NoError(t, b.chat.PressWith(t.Context(), b.ref.TS, approve, alice, map[string]string{"contraflow_reason": "numbers match"}))
	require.NoError(t, b.gateway.Close(t.Context()), "closing waits until everything accepted is handled")

	got := b.decider.decisions()
	require.Len(t, got, 1)
	require.Contains(t, got[0].ID, b.ref.TS)
	got[0].ID = ""
	require.Equal(t, gateway.Decision{
		Migration: b.card.Migration, Step: "cutover", PlanHash: "9f2c4e", By: "alice", Decision: "approve", Reason: "numbers match",
	}, got[0])
	require.Empty(t, b.whispers(alice))
}

func TestTwoClicksAreTwoDecisions(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, alice))
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, reject, "U0BOB"))
	require.NoError(t, b.gateway.Close(t.Context()))

	got := b.decider.decisions()
	require.Len(t, got, 2)
	require.ElementsMatch(t, []string{"alice approve", "bob reject"}, []string{got[0].By + " " + got[0].Decision, got[1].By + " " + got[1].Decision})
	require.NotEqual(t, got[0].ID, got[1].ID)
}

func TestAnUnknownPersonIsToldAndDecidesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, mallory))
	text := b.waitForWhisper(t, mallory)
	require.Contains(t, text, "does not know you")
	require.Contains(t, text, mallory)
	require.Empty(t, b.decider.decisions())
	require.Empty(t, b.whispers(alice))
}

func TestAPassingFailureIsRetriedWithTheSameID(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.decider.answer = func(_ context.Context, call int) error {
		if call == 1 {
			return errors.New("connection refused")
		}
		return nil
	}
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, alice))
	require.NoError(t, b.gateway.Close(t.Context()))
	got := b.decider.decisions()
	require.Len(t, got, 2)
	require.Equal(t, got[0], got[1])
	require.Empty(t, b.whispers(alice))
}

func TestALastingFailureIsToldWithoutItsText(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.decider.answer = func(context.Context, int) error { return errors.New("dial db.internal: hunter2") }
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, alice))
	text := b.waitForWhisper(t, alice)
	require.Contains(t, text, "may not have arrived")
	require.Contains(t, text, "Press the button again")
	require.NotContains(t, text, "hunter2")
	require.Len(t, b.decider.decisions(), 4)
}

func TestARefusalIsToldAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.decider.answer = func(context.Context, int) error {
		return fmt.Errorf("%w: the migration ended yesterday", gateway.ErrRefused)
	}
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, alice))
	require.Contains(t, b.waitForWhisper(t, alice), "the migration ended yesterday")
	require.Len(t, b.decider.decisions(), 1)
}

func TestTellingAPersonSurvivesSlacksRateLimit(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.chat.Inject(chatserver.Fault{Method: "chat.postEphemeral", Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, mallory))
	b.waitForWhisper(t, mallory)
}

func TestTheAnswerDoesNotWaitForTheWork(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	work := make(chan struct{})
	release := sync.OnceFunc(func() { close(work) })
	t.Cleanup(release)
	b.decider.answer = func(context.Context, int) error {
		<-work // whatever its context says: an answer that waited for it would not come
		return nil
	}
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, alice))
	require.Eventually(t, func() bool { return len(b.decider.decisions()) == 1 }, soon, tick)

	short, cancel := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() { closed <- b.gateway.Close(short) }()
	require.Eventually(t, func() bool { return b.health() == http.StatusServiceUnavailable }, soon, tick)
	var refused *chatserver.NotTakenError
	require.ErrorAs(t, b.chat.Press(t.Context(), b.ref.TS, approve, "U0BOB"), &refused)
	require.Equal(t, http.StatusServiceUnavailable, refused.Status)

	release()
	require.NoError(t, <-closed, "the decision under way is finished before Close returns")
	cancel()
	require.Len(t, b.decider.decisions(), 1)
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	b.decider.answer = func(ctx context.Context, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	}
	require.NoError(t, b.chat.Press(t.Context(), b.ref.TS, approve, alice))
	require.Eventually(t, func() bool { return len(b.decider.decisions()) == 1 }, soon, tick)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.gateway.Close(ended), context.Canceled)
}

func (b *bundle) health() int {
	w := httptest.NewRecorder()
	b.gateway.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	return w.Code
}

// send delivers a body signed at the given time with the given secret.
func (b *bundle) send(body, secret string, at time.Time) (int, string) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	r := httptest.NewRequest(http.MethodPost, gateway.InteractionsPath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", chatserver.Sign(secret, stamp, body))
	w := httptest.NewRecorder()
	b.gateway.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestBadRequestsAreRefusedWithOneLineAndDoNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, 1)
	payload := func(json string) string { return url.Values{"payload": {json}}.Encode() }
	click := func(value string) string {
		return payload(`{"type":"block_actions","user":{"id":"U0ALICE"},"container":{"channel_id":"C1","message_ts":"1.1"},
			"actions":[{"type":"button","block_id":"b","action_id":"contraflow_approve","action_ts":"2.2","value":` + strconv.Quote(value) + `}]}`)
	}
	good := click(`{"migration":"m","step":"s","planHash":"h","decision":"approve"}`)
	now := time.Now()
	for name, c := range map[string]struct {
		body, secret string
		at           time.Time
		status       int
		says         string
	}{
		"wrong secret":      {good, "guessed", now, 401, "signature is missing or wrong"},
		"too old":           {good, secret, now.Add(-6 * time.Minute), 401, "more than 5 minutes"},
		"too new":           {good, secret, now.Add(6 * time.Minute), 401, "more than 5 minutes"},
		"too large":         {strings.Repeat("a", 2<<20), secret, now, 413, "larger than"},
		"no form":           {"{}", secret, now, 400, "payload"},
		"broken JSON":       {payload(`{"type":`), secret, now, 400, "payload"},
		"value is no JSON":  {click("approve"), secret, now, 400, "not JSON"},
		"value lacks hash":  {click(`{"migration":"m","step":"s","decision":"approve"}`), secret, now, 400, "plan hash"},
		"value contradicts": {click(`{"migration":"m","step":"s","planHash":"h","decision":"reject"}`), secret, now, 400, "approve"},
		"another app's":     {payload(`{"type":"block_actions","actions":[{"type":"button","block_id":"b","action_id":"other"}]}`), secret, now, 200, ""},
	} {
		status, answer := b.send(c.body, c.secret, c.at)
		require.Equal(t, c.status, status, name)
		require.Contains(t, answer, c.says, name)
		require.LessOrEqual(t, strings.Count(answer, "\n"), 1, name)
	}
	tampered := httptest.NewRequest(http.MethodPost, gateway.InteractionsPath, strings.NewReader(good))
	w := httptest.NewRecorder()
	b.gateway.Handler().ServeHTTP(w, tampered)
	require.Equal(t, 401, w.Code, "no signature at all")

	status, _ := b.send(good, secret, now)
	require.Equal(t, 200, status, "the same body, well signed, is a click")
	require.NoError(t, b.gateway.Close(t.Context()))
	require.Len(t, b.decider.decisions(), 1)
	require.Equal(t, "m", b.decider.decisions()[0].Migration)
}

func TestNewRefusesAConfigurationThatCannotWork(t *testing.T) {
	t.Parallel()
	client := slack.New(token)
	people := map[string]string{alice: "alice"}
	for _, cfg := range []gateway.Config{
		{People: people, Decider: &decider{}, Slack: client},
		{SigningSecret: secret, Decider: &decider{}, Slack: client},
		{SigningSecret: secret, People: people, Slack: client},
		{SigningSecret: secret, People: people, Decider: &decider{}},
	} {
		_, err := gateway.New(cfg)
		require.Error(t, err)
	}
}
