package chatserver

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// maxRequest bounds a call's body; the largest real one is a message of 50 full blocks.
const maxRequest = 4 << 20

// defaultHistoryLimit is what Slack returns when conversations.history names no limit.
const defaultHistoryLimit = 100

// answer is a method's JSON answer; "ok" is added when it is written.
type answer map[string]any

// refusal is a Slack error code, with details for the developer.
type refusal struct {
	code    string
	details []string
}

func (r *refusal) Error() string { return r.code }

func refuse(code string, details ...string) error { return &refusal{code, details} }

func (s *Server) methods() map[string]func(url.Values) (answer, error) {
	return map[string]func(url.Values) (answer, error){
		"auth.test":             s.authTest,
		"users.info":            s.usersInfo,
		"chat.postMessage":      s.postMessage,
		"chat.postEphemeral":    s.postEphemeral,
		"chat.update":           s.update,
		"conversations.history": s.history,
	}
}

func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("method")
	fault := s.takeFault(name)
	if fault != nil && !fault.After {
		fault.write(w)
		return
	}
	result, err := s.call(name, r)
	switch {
	case fault != nil:
		fault.write(w)
	case err != nil:
		writeError(w, err)
	default:
		result["ok"] = true
		writeJSON(w, result)
	}
}

func (s *Server) call(name string, r *http.Request) (answer, error) {
	method, ok := s.methods()[name]
	if !ok {
		return nil, refuse("unknown_method")
	}
	params, err := parameters(r)
	if err != nil {
		return nil, refuse("invalid_form_data")
	}
	token := params.Get("token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	switch {
	case token == "":
		return nil, refuse("not_authed")
	case subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1:
		return nil, refuse("invalid_auth")
	}
	return method(params)
}

// parameters reads a call's query and its body, which is a form or a JSON object; JSON values that are no strings stay JSON.
func parameters(r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxRequest)
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		err := r.ParseForm()
		return r.Form, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, err
	}
	params := r.URL.Query()
	for k, raw := range fields {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		params.Set(k, text)
	}
	return params, nil
}

func (f *Fault) write(w http.ResponseWriter) {
	if f.Status == 0 {
		writeError(w, refuse(f.Error))
		return
	}
	if f.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.RetryAfter/time.Second)))
	}
	http.Error(w, "<html>an injected fault</html>", f.Status)
}

func writeError(w http.ResponseWriter, err error) {
	body := answer{"ok": false, "error": err.Error()}
	if r, ok := err.(*refusal); ok && len(r.details) > 0 {
		body["response_metadata"] = answer{"messages": r.details}
	}
	writeJSON(w, body)
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(body)
}

func (s *Server) authTest(url.Values) (answer, error) {
	return answer{"url": s.url + "/", "team": teamDomain, "team_id": teamID, "user": botName, "user_id": botUserID, "bot_id": botID}, nil
}

func (s *Server) usersInfo(p url.Values) (answer, error) {
	person, ok := s.person(p.Get("user"))
	if !ok {
		return nil, refuse("user_not_found")
	}
	return answer{"user": answer{"id": person.ID, "team_id": teamID, "name": person.Name, "real_name": person.Name}}, nil
}

func (s *Server) postMessage(p url.Values) (answer, error) {
	m, err := content(p)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.channelID(p.Get("channel"), true)
	if !ok {
		return nil, refuse("channel_not_found")
	}
	if m.ThreadTS = p.Get("thread_ts"); m.ThreadTS != "" && s.find(m.ThreadTS) == nil {
		return nil, refuse("thread_not_found")
	}
	m.Channel = id
	m = s.add(m)
	return answer{"channel": id, "ts": m.TS, "message": m.json()}, nil
}

func (s *Server) postEphemeral(p url.Values) (answer, error) {
	m, err := content(p)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.channelID(p.Get("channel"), false)
	if !ok {
		return nil, refuse("channel_not_found")
	}
	if _, ok := s.person(p.Get("user")); !ok {
		return nil, refuse("user_not_in_channel")
	}
	m.Channel, m.EphemeralTo, m.ThreadTS = id, p.Get("user"), p.Get("thread_ts")
	m = s.add(m)
	return answer{"message_ts": m.TS}, nil
}

func (s *Server) update(p url.Values) (answer, error) {
	next, err := content(p)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.channelID(p.Get("channel"), false)
	if !ok {
		return nil, refuse("channel_not_found")
	}
	m := s.find(p.Get("ts"))
	if m == nil || m.Channel != id || m.EphemeralTo != "" {
		return nil, refuse("message_not_found")
	}
	m.Text, m.Blocks, m.Buttons, m.Edited = next.Text, next.Blocks, next.Buttons, true
	if p.Has("metadata") {
		m.Metadata = next.Metadata
	}
	s.changed()
	return answer{"channel": id, "ts": m.TS, "text": m.Text, "message": m.json()}, nil
}

// history returns a channel's top-level messages, newest first. Its cursor is the time stamp to go on below.
func (s *Server) history(p url.Values) (answer, error) {
	limit, err := strconv.Atoi(p.Get("limit"))
	if err != nil || limit <= 0 {
		limit = defaultHistoryLimit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.channelID(p.Get("channel"), false)
	if !ok {
		return nil, refuse("channel_not_found")
	}
	below := seconds(p.Get("cursor"))
	var page []answer
	cursor := ""
	for i := len(s.messages) - 1; i >= 0; i-- {
		m := s.messages[i]
		at := seconds(m.TS)
		if m.Channel != id || m.ThreadTS != "" || m.EphemeralTo != "" || at < seconds(p.Get("oldest")) || below > 0 && at >= below {
			continue
		}
		if len(page) == limit {
			cursor = page[limit-1]["ts"].(string)
			break
		}
		shown := m.json()
		if p.Get("include_all_metadata") != "1" {
			delete(shown, "metadata")
		}
		page = append(page, shown)
	}
	return answer{"messages": page, "has_more": cursor != "", "response_metadata": answer{"next_cursor": cursor}}, nil
}

func seconds(ts string) float64 {
	f, _ := strconv.ParseFloat(ts, 64)
	return f
}

// content reads what a message says and checks it against Slack's limits.
func content(p url.Values) (Message, error) {
	m := Message{Text: p.Get("text")}
	var err error
	if m.Blocks, err = decodeBlocks(p.Get("blocks")); err != nil {
		return m, refuse("invalid_blocks_format", err.Error())
	}
	if faults := checkBlocks(m.Blocks); len(faults) > 0 {
		return m, refuse("invalid_blocks", faults...)
	}
	if text := p.Get("metadata"); text != "" {
		if err := json.Unmarshal([]byte(text), &m.Metadata); err != nil {
			return m, refuse("invalid_metadata_format", err.Error())
		}
	}
	switch {
	case m.Text == "" && len(m.Blocks) == 0:
		return m, refuse("no_text")
	case length(m.Text) > maxText:
		return m, refuse("msg_too_long", fmt.Sprintf("text has %d characters, at most %d", length(m.Text), maxText))
	}
	m.Buttons = buttons(m.Blocks)
	return m, nil
}

// json is the message as Slack's answers and interactions carry it.
func (m Message) json() answer {
	out := answer{
		"type": "message", "user": botUserID, "bot_id": botID, "app_id": appID, "team": teamID,
		"ts": m.TS, "text": m.Text, "blocks": slack.Blocks{BlockSet: m.Blocks},
	}
	if m.ThreadTS != "" {
		out["thread_ts"] = m.ThreadTS
	}
	if m.Metadata.EventType != "" {
		out["metadata"] = m.Metadata
	}
	return out
}
