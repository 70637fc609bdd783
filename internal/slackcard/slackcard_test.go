package slackcard_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
	"github.com/contraflow/contraflow/internal/slackcard"
)

const (
	token   = "xoxb-test"
	channel = "C0MIGRATIONS"
)

var deadline = time.Date(2026, 3, 4, 15, 30, 0, 0, time.UTC)

func waiting() slackcard.Approval {
	return slackcard.Approval{
		Migration: "contraflow-split", Plan: "split-customer-address", PlanHash: "sha256:9f2c4e7711aabbccddeeff", Step: "cutover",
		Description: "Split customers.address.", Evidence: []slackcard.Field{{Name: "Rows changed", Value: "1,000,000"}},
		Approvers: []string{"alice", "bob"}, Quorum: 1, Deadline: deadline, State: slackcard.StateWaiting,
		TemporalURL: "http://127.0.0.1:8233/namespaces/default/workflows/x?a=1&b=2",
	}
}

func setup(t *testing.T) (*chatserver.Server, *slackcard.Poster) {
	t.Helper()
	chat := chatserver.New(chatserver.Options{Token: token, SigningSecret: "s", People: []chatserver.Person{{ID: "U0ALICE", Name: "alice"}}})
	require.NoError(t, chat.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = chat.Close() })
	return chat, slackcard.NewPoster(slack.New(token, slack.OptionAPIURL(chat.APIURL())))
}

func source(t *testing.T, card slackcard.Card) string {
	t.Helper()
	b, err := json.MarshalIndent(card.Blocks(), "", " ")
	require.NoError(t, err)
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}

func TestAWaitingCardShowsWhatADecisionNeeds(t *testing.T) {
	t.Parallel()
	chat, poster := setup(t)
	ref, err := poster.Post(t.Context(), channel, waiting())
	require.NoError(t, err)
	require.Equal(t, slackcard.Ref{Channel: channel, TS: chat.Messages()[0].TS}, ref)

	m := chat.Messages()[0]
	require.Contains(t, m.Text, "Approval needed: cutover")
	require.Len(t, m.Buttons, 2)
	require.Equal(t, []string{"primary", "danger"}, []string{m.Buttons[0].Style, m.Buttons[1].Style})
	require.JSONEq(t, `{"migration":"contraflow-split","step":"cutover","planHash":"sha256:9f2c4e7711aabbccddeeff","decision":"approve"}`, m.Buttons[0].Value)
	text := source(t, waiting())
	for _, want := range []string{
		"*Rows changed*", "1,000,000", "alice, bob", "0 of 1 needed", "`9f2c4e7711aa`", "<!date^1772638200^",
		"<http://127.0.0.1:8233/namespaces/default/workflows/x?a=1&amp;b=2|Open in Temporal>",
	} {
		require.Contains(t, text, want)
	}
}

func TestUpdateReplacesTheButtonsByTheDecision(t *testing.T) {
	t.Parallel()
	chat, poster := setup(t)
	ref, err := poster.Post(t.Context(), "#migrations", waiting())
	require.NoError(t, err)
	for state, headline := range map[slackcard.State]string{
		slackcard.StateApproved: "Approved", slackcard.StateRejected: "Rejected",
		slackcard.StateExpired: "Expired", slackcard.StateCancelled: "No longer needed",
	} {
		decided := waiting()
		decided.State = state
		decided.Decisions = []slackcard.Decision{{By: "alice", Decision: slackcard.Reject, Reason: "numbers\nare off", At: deadline}}
		require.NoError(t, poster.Update(t.Context(), ref, decided))
		m := chat.Messages()[0]
		require.Empty(t, m.Buttons)
		require.Contains(t, m.Text, headline)
		require.NotContains(t, source(t, decided), `"input"`)
		require.Contains(t, source(t, decided), `rejected by alice, <!date^1772638200^{date_short_pretty} at {time}|2026-03-04 15:30 UTC>\n>numbers\n>are off`)
	}
	require.Len(t, chat.Messages(), 1)
}

func TestEveryCardFitsSlacksLimits(t *testing.T) {
	t.Parallel()
	chat, poster := setup(t)
	rapid.Check(t, func(rt *rapid.T) {
		text := func(label string) string {
			piece := rapid.SampledFrom([]string{"a", "&", "<", ">", "`", "|", "\n", "é", "😀", "step ", "\x00", "*"}).Draw(rt, label)
			return strings.Repeat(piece, rapid.SampledFrom([]int{0, 1, 149, 151, 1200, 5000}).Draw(rt, label+" times"))
		}
		field := rapid.Custom(func(*rapid.T) slackcard.Field { return slackcard.Field{Name: text("name"), Value: text("value")} })
		card := waiting()
		card.Migration, card.Plan, card.PlanHash, card.Step, card.Description = text("migration"), text("plan"), text("hash"), text("step"), text("description")
		card.Evidence = rapid.SliceOfN(field, 0, 3).Draw(rt, "evidence")
		for range rapid.SampledFrom([]int{0, 1, 80, 600}).Draw(rt, "more evidence") {
			card.Evidence = append(card.Evidence, slackcard.Field{Name: "n", Value: "v"})
		}
		decision := slackcard.Decision{By: text("by"), Decision: slackcard.Approve, Reason: text("reason"), At: deadline}
		for range rapid.SampledFrom([]int{0, 1, 40}).Draw(rt, "decisions") {
			card.Decisions = append(card.Decisions, decision)
		}
		card.State = rapid.SampledFrom([]slackcard.State{slackcard.StateWaiting, slackcard.StateApproved}).Draw(rt, "state")
		ref, err := poster.Post(t.Context(), channel, card)
		if err != nil {
			rt.Fatalf("post: %v", err)
		}
		notice := slackcard.Notice{Kind: slackcard.NoticeStuck, Text: "x" + text("text"), Needs: text("needs"), Facts: card.Evidence, Migration: card.Migration}
		if _, err := poster.Reply(t.Context(), ref, notice); err != nil {
			rt.Fatalf("reply: %v", err)
		}
	})
	require.NotEmpty(t, chat.Messages())
}

func TestLongTextIsCutVisiblyAndNeverInsideAnEscape(t *testing.T) {
	t.Parallel()
	card := waiting()
	card.Step = strings.Repeat("s", 200)
	header := card.Blocks()[0].(*slack.HeaderBlock).Text.Text
	require.Equal(t, 149, len([]rune(header)), "the traffic light counts as two")
	require.True(t, strings.HasSuffix(header, "s…"))

	for n := range 8 {
		card.Description = strings.Repeat("x", n) + strings.Repeat("&", 1000)
		text := card.Blocks()[1].(*slack.SectionBlock).Text.Text
		require.True(t, strings.HasSuffix(text, "&amp;…"), "…%s", text[len(text)-12:])
	}
}

func TestTextFromOutsideCannotMentionOrLink(t *testing.T) {
	t.Parallel()
	card := waiting()
	card.Description, card.Step, card.Migration = "<!channel> <http://evil|click>", "<@U1>", "a`<!here>`"
	card.Evidence = []slackcard.Field{{Name: "<!here>", Value: "<@U1>"}}
	card.TemporalURL = "http://x/|<!channel>"
	for _, block := range card.Blocks() {
		if kind := block.BlockType(); kind == slack.MBTHeader || kind == slack.MBTAction {
			continue // plain text only
		}
		b, err := json.Marshal(block)
		require.NoError(t, err)
		for _, bad := range []string{`\u003c!channel`, `\u003c!here`, `\u003chttp://evil`} {
			require.NotContains(t, string(b), bad)
		}
	}
	require.NotContains(t, card.Fallback(), "<")
	require.Contains(t, source(t, card), "<http://x/%7C%3C!channel%3E|Open in Temporal>")
}

func TestNamesTooLongForAButtonLeaveTheCommandLine(t *testing.T) {
	t.Parallel()
	card := waiting()
	card.Migration = strings.Repeat("m", 2000)
	text := source(t, card)
	require.NotContains(t, text, `"actions"`)
	require.Contains(t, text, "command line")
}

func TestRepliesAndNotices(t *testing.T) {
	t.Parallel()
	chat, poster := setup(t)
	ref, err := poster.Post(t.Context(), channel, waiting())
	require.NoError(t, err)
	for kind, title := range map[slackcard.NoticeKind]string{
		slackcard.NoticeProgress: "", slackcard.NoticeCompleted: "Completed", slackcard.NoticeRolledBack: "Rolled back",
		slackcard.NoticeStuck: "Stuck", slackcard.NoticeRefused: "not taken",
	} {
		reply, err := poster.Reply(t.Context(), ref, slackcard.Notice{Kind: kind, Text: "what happened", Needs: "retry or skip", Migration: "m"})
		require.NoError(t, err)
		m := chat.Messages()[len(chat.Messages())-1]
		require.Equal(t, reply.TS, m.TS)
		require.Equal(t, ref.TS, m.ThreadTS)
		require.Contains(t, m.Text, title)
		require.Contains(t, m.Text, "what happened")
		require.Contains(t, m.Text, "retry or skip")
	}
}

func TestPostAgainFindsTheCardOfAnAttemptWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	chat, poster := setup(t)
	started := time.Now()
	chat.Inject(chatserver.Fault{Method: "chat.postMessage", Status: http.StatusBadGateway, After: true})
	_, err := poster.Post(t.Context(), channel, waiting())
	require.Error(t, err)
	require.Len(t, chat.Messages(), 1, "it was posted all the same")
	other := waiting()
	other.Step = "contract"
	for range 250 { // the lost card is on the second page
		_, err = poster.Post(t.Context(), channel, other)
		require.NoError(t, err)
	}

	decided := waiting()
	decided.State = slackcard.StateApproved
	ref, err := poster.PostAgain(t.Context(), channel, decided, started)
	require.NoError(t, err)
	require.Equal(t, chat.Messages()[0].TS, ref.TS)
	require.Contains(t, chat.Messages()[0].Text, "Approved")
	require.Len(t, chat.Messages(), 251)

	_, err = poster.PostAgain(t.Context(), channel, waiting(), time.Now().Add(2*time.Minute))
	require.NoError(t, err)
	require.Len(t, chat.Messages(), 252, "an older run's card is not taken for this one's")

	chat.Inject(chatserver.Fault{Method: "conversations.history", Error: "missing_scope"})
	_, err = poster.PostAgain(t.Context(), channel, waiting(), started)
	require.NoError(t, err)
	require.Len(t, chat.Messages(), 253, "without the right to look, a second card is better than none")
}

func TestErrorsSayWhetherToCallAgain(t *testing.T) {
	t.Parallel()
	chat, poster := setup(t)
	chat.Inject(chatserver.Fault{Method: "chat.postMessage", Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second})
	_, err := poster.Post(t.Context(), channel, waiting())
	var limited *slack.RateLimitedError
	require.ErrorAs(t, err, &limited)
	require.Equal(t, 7*time.Second, limited.RetryAfter)
	require.NotErrorIs(t, err, slackcard.ErrSetup)

	chat.Inject(chatserver.Fault{Method: "chat.postMessage", Status: http.StatusInternalServerError})
	_, err = poster.Post(t.Context(), channel, waiting())
	require.ErrorContains(t, err, "500")
	require.NotErrorIs(t, err, slackcard.ErrSetup)

	chat.Inject(chatserver.Fault{Method: "chat.postMessage", Error: "not_in_channel"})
	_, err = poster.Post(t.Context(), channel, waiting())
	require.ErrorIs(t, err, slackcard.ErrSetup)
	require.ErrorContains(t, err, "invite the bot")

	stranger := slackcard.NewPoster(slack.New("xoxb-wrong", slack.OptionAPIURL(chat.APIURL())))
	_, err = stranger.Post(t.Context(), channel, waiting())
	require.ErrorIs(t, err, slackcard.ErrSetup)
	require.NotContains(t, fmt.Sprint(err), "xoxb-wrong")
	require.Empty(t, chat.Messages())
}
