package chatserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/require"

	"github.com/contraflow/contraflow/internal/devstack/chatserver"
)

const (
	token  = "xoxb-test"
	secret = "shh"
	alice  = "U0ALICE"
)

func setup(t *testing.T) (*chatserver.Server, *slack.Client) {
	t.Helper()
	s := chatserver.New(chatserver.Options{
		Token: token, SigningSecret: secret,
		People: []chatserver.Person{{ID: alice, Name: "alice"}, {ID: "U0BOB", Name: "bob"}},
	})
	require.NoError(t, s.Start("127.0.0.1:0"))
	t.Cleanup(func() { _ = s.Close() })
	return s, slack.New(token, slack.OptionAPIURL(s.APIURL()))
}

func text(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, false)
}

func button(id string) slack.Block {
	label := slack.NewTextBlockObject(slack.PlainTextType, "Go <on>", true, false)
	sure := slack.NewConfirmationBlockObject(label, label, label, label)
	return slack.NewActionBlock("row", slack.NewButtonBlockElement(id, "v", label).WithStyle(slack.StylePrimary).WithConfirm(sure))
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(body)
}

func TestTheAPIWantsTheToken(t *testing.T) {
	t.Parallel()
	s, client := setup(t)
	me, err := client.AuthTestContext(t.Context())
	require.NoError(t, err)
	require.Equal(t, "contraflow", me.User)
	user, err := client.GetUserInfoContext(t.Context(), alice)
	require.NoError(t, err)
	require.Equal(t, "alice", user.Name)
	_, err = slack.New("xoxb-other", slack.OptionAPIURL(s.APIURL())).AuthTestContext(t.Context())
	require.EqualError(t, err, "invalid_auth")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.APIURL()+"chat.postMessage", strings.NewReader(`{"channel":"#a","text":"as JSON"}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "as JSON", s.Messages()[0].Text)
}

func TestMessagesFollowSlacksRules(t *testing.T) {
	t.Parallel()
	s, client := setup(t)
	id, ts, err := client.PostMessageContext(t.Context(), "#migrations", slack.MsgOptionText("a", false), slack.MsgOptionBlocks(button("go")))
	require.NoError(t, err)
	require.NotEqual(t, "#migrations", id)
	require.Len(t, s.Messages()[0].Buttons, 1)

	_, _, _, err = client.UpdateMessageContext(t.Context(), "#migrations", ts, slack.MsgOptionText("b", false))
	require.EqualError(t, err, "channel_not_found", "an update needs the channel's id")
	_, _, _, err = client.UpdateMessageContext(t.Context(), id, "1.1", slack.MsgOptionText("b", false))
	require.EqualError(t, err, "message_not_found")
	_, _, _, err = client.UpdateMessageContext(t.Context(), id, ts, slack.MsgOptionText("b", false))
	require.NoError(t, err)
	require.Empty(t, s.Messages()[0].Buttons, "an update without blocks takes them away")

	_, _, err = client.PostMessageContext(t.Context(), id)
	require.EqualError(t, err, "no_text")
	long := strings.Repeat("x", 3001)
	_, _, err = client.PostMessageContext(t.Context(), id, slack.MsgOptionBlocks(slack.NewSectionBlock(text(long), nil, nil)))
	require.EqualError(t, err, "invalid_blocks")
	_, err = client.PostEphemeralContext(t.Context(), id, "U0NOBODY", slack.MsgOptionText("psst", false))
	require.EqualError(t, err, "user_not_in_channel")
	require.Len(t, s.Messages(), 1)
}

func TestPressSendsASignedInteractionInSlacksShape(t *testing.T) {
	t.Parallel()
	s, client := setup(t)
	type delivery struct {
		ic  slack.InteractionCallback
		raw map[string]any
	}
	got := make(chan delivery, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verifier, err := slack.NewSecretsVerifier(r.Header, secret)
		if err == nil {
			_, _ = verifier.Write(body)
			err = verifier.Ensure()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		form, _ := url.ParseQuery(string(body))
		var d delivery
		_ = json.Unmarshal([]byte(form.Get("payload")), &d.ic)
		_ = json.Unmarshal([]byte(form.Get("payload")), &d.raw)
		got <- d
	}))
	t.Cleanup(app.Close)
	id, ts, err := client.PostMessageContext(t.Context(), "#migrations", slack.MsgOptionText("a", false), slack.MsgOptionBlocks(button("go")))
	require.NoError(t, err)

	var lost *chatserver.NotTakenError
	require.ErrorAs(t, s.Press(t.Context(), ts, "go", alice), &lost, "nobody listens yet")
	s.SetInteractionsURL(app.URL)
	require.ErrorIs(t, s.Press(t.Context(), ts, "stop", alice), chatserver.ErrNoButton)
	require.ErrorIs(t, s.Press(t.Context(), ts, "go", "U0NOBODY"), chatserver.ErrUnknownPerson)
	require.NoError(t, s.Press(t.Context(), ts, "go", alice))

	d := <-got
	require.Equal(t, slack.InteractionTypeBlockActions, d.ic.Type)
	require.Equal(t, alice, d.ic.User.ID)
	require.Equal(t, id, d.ic.Channel.ID)
	require.Equal(t, "migrations", d.ic.Channel.Name)
	require.Equal(t, slack.Container{Type: "message", MessageTs: ts, ChannelID: id}, d.ic.Container)
	require.Equal(t, "a", d.ic.Message.Text)
	require.Len(t, d.ic.ActionCallback.BlockActions, 1)
	action := d.ic.ActionCallback.BlockActions[0]
	require.Equal(t, []string{"go", "row", "v"}, []string{action.ActionID, action.BlockID, action.Value})
	require.NotEmpty(t, action.ActionTs)
	require.NotEmpty(t, d.ic.TriggerID)
	require.NotContains(t, d.raw, "token")
}

func TestThePageShowsWhatThisPersonMaySee(t *testing.T) {
	t.Parallel()
	s, client := setup(t)
	require.Contains(t, get(t, s.URL()+"/"), "No messages yet")
	body := "*bold `code*` <https://x.test/?a=1&amp;b=2|a link> <javascript:alert(1)|bad> <@U0BOB> &lt;script&gt;alert(1)&lt;/script&gt;<script>\n&gt;quoted *too*\nsnake_case_name <!date^1772638200^{date_short_pretty} at {time}|then>"
	id, ts, err := client.PostMessageContext(t.Context(), "#migrations", slack.MsgOptionText("fallback", false), slack.MsgOptionBlocks(
		slack.NewHeaderBlock(slack.NewTextBlockObject(slack.PlainTextType, "Head <b>", true, false)),
		slack.NewSectionBlock(text(body), []*slack.TextBlockObject{text("left"), text("right")}, nil),
		button("go")))
	require.NoError(t, err)
	_, _, err = client.PostMessageContext(t.Context(), id, slack.MsgOptionText("in the thread", false), slack.MsgOptionTS(ts))
	require.NoError(t, err)
	_, err = client.PostEphemeralContext(t.Context(), id, alice, slack.MsgOptionText("for alice", false))
	require.NoError(t, err)

	page := get(t, s.URL()+"/?as="+alice)
	for _, want := range []string{
		"<h3>Head &lt;b&gt;</h3>", "<code>code*</code>",
		`<a href="https://x.test/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer">a link</a>`,
		"&lt;javascript:alert(1)|bad&gt;", `<span class="mention">@bob</span>`, "&lt;script&gt;alert(1)&lt;/script&gt;&lt;script&gt;",
		"<blockquote>quoted <strong>too</strong></blockquote>snake_case_name",
		`<time datetime="2026-03-04T15:30:00Z" data-format="{date_short_pretty} at {time}">then</time>`,
		"<div>left</div><div>right</div>", `class="primary" data-action="go"`, "1 reply", "in the thread", "Only visible to you", "for alice",
	} {
		require.Contains(t, page, want)
	}
	require.Equal(t, 1, strings.Count(page, "<script"), "the only script is the page's own")
	require.NotContains(t, get(t, s.URL()+"/?as=U0BOB"), "for alice")
	require.NotContains(t, get(t, s.URL()+"/stream"), "<html")
	require.Contains(t, get(t, s.URL()+"/assets/page.js"), "EventSource")
}

func TestThePageIsToldOfChanges(t *testing.T) {
	t.Parallel()
	s, client := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/events", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	require.True(t, lines.Scan(), "the first event comes at once")
	require.True(t, lines.Scan())
	_, _, err = client.PostMessageContext(t.Context(), "#migrations", slack.MsgOptionText("news", false))
	require.NoError(t, err)
	require.True(t, lines.Scan())
	require.Equal(t, "data: changed", lines.Text())
}

func TestThePagesButtonsPress(t *testing.T) {
	t.Parallel()
	s, client := setup(t)
	_, ts, err := client.PostMessageContext(t.Context(), "#migrations", slack.MsgOptionText("a", false), slack.MsgOptionBlocks(button("go")))
	require.NoError(t, err)
	pressed := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { pressed <- r.FormValue("payload") }))
	t.Cleanup(app.Close)
	s.SetInteractionsURL(app.URL)
	post := func(contentType, body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/press", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", contentType)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	press := `{"ts":"` + ts + `","action":"go","user":"` + alice + `"}`
	require.Equal(t, http.StatusUnsupportedMediaType, post("text/plain", press), "what another site's page could send")
	require.Empty(t, pressed)
	require.Equal(t, http.StatusConflict, post("application/json", strings.Replace(press, "go", "no", 1)))
	require.Equal(t, http.StatusNoContent, post("application/json", press))
	require.Contains(t, <-pressed, alice)
}
