package chatserver

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"time"

	"github.com/slack-go/slack"
)

//go:embed assets
var assets embed.FS

var templates = template.Must(template.ParseFS(assets, "assets/*.html"))

// contentPolicy keeps the page from loading or running anything but its own assets.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"

// view is what the page shows: one channel, seen by one person.
type view struct {
	Me       Person
	People   []Person
	Channel  string // id; empty while there is none
	Name     string
	Channels []viewChannel
	Messages []viewMessage
}

type viewChannel struct{ ID, Name string }

type viewMessage struct {
	TS        string
	At        time.Time
	Ephemeral bool
	Edited    bool
	Blocks    []viewBlock
	Replies   []viewMessage
}

// viewBlock has Kind header, section, context, actions, input, divider or unknown, and what belongs to it.
type viewBlock struct {
	Kind        string
	Text        template.HTML
	Fields      []template.HTML
	Buttons     []viewButton
	Input       string // action id
	Placeholder string
	Optional    bool
}

type viewButton struct {
	ActionID, Text, Style string
	Confirm               string // JSON for the script; empty for none
}

func (s *Server) view(r *http.Request) view {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := view{People: s.people, Channel: r.FormValue("channel")}
	if me, ok := s.person(r.FormValue("as")); ok {
		v.Me = me
	} else if len(s.people) > 0 {
		v.Me = s.people[0]
	}
	if v.Channel == "" && len(s.channels) > 0 {
		v.Channel = s.channels[0].id
	}
	for _, c := range s.channels {
		v.Channels = append(v.Channels, viewChannel{ID: c.id, Name: c.name})
		if c.id == v.Channel {
			v.Name = c.name
		}
	}
	at := map[string]int{} // TS of a top-level message → its place
	for _, m := range s.messages {
		if m.Channel != v.Channel || m.EphemeralTo != "" && m.EphemeralTo != v.Me.ID {
			continue
		}
		shown := s.viewMessage(m)
		if parent, ok := at[m.ThreadTS]; ok && m.ThreadTS != "" {
			v.Messages[parent].Replies = append(v.Messages[parent].Replies, shown)
			continue
		}
		at[m.TS] = len(v.Messages)
		v.Messages = append(v.Messages, shown)
	}
	return v
}

func (s *Server) viewMessage(m *Message) viewMessage {
	v := viewMessage{TS: m.TS, At: time.UnixMicro(int64(seconds(m.TS) * 1e6)).UTC(), Ephemeral: m.EphemeralTo != "", Edited: m.Edited}
	for _, b := range m.Blocks {
		v.Blocks = append(v.Blocks, s.viewBlock(b))
	}
	if len(m.Blocks) == 0 {
		v.Blocks = []viewBlock{{Kind: "section", Text: s.mrkdwn(m.Text)}}
	}
	return v
}

func (s *Server) viewBlock(block slack.Block) viewBlock {
	v := viewBlock{Kind: string(block.BlockType())}
	switch b := block.(type) {
	case *slack.HeaderBlock:
		v.Text = s.text(b.Text)
	case *slack.SectionBlock:
		v.Text = s.text(b.Text)
		for _, f := range b.Fields {
			v.Fields = append(v.Fields, s.text(f))
		}
	case *slack.ContextBlock:
		for _, e := range b.ContextElements.Elements {
			if t, ok := e.(*slack.TextBlockObject); ok {
				v.Fields = append(v.Fields, s.text(t))
			}
		}
	case *slack.ActionBlock:
		for _, e := range b.Elements.ElementSet {
			if button, ok := e.(*slack.ButtonBlockElement); ok {
				v.Buttons = append(v.Buttons, viewButton{ActionID: button.ActionID, Text: button.Text.Text, Style: string(button.Style), Confirm: confirmation(button)})
			}
		}
	case *slack.InputBlock:
		v.Text, v.Optional = s.text(b.Label), b.Optional
		if in, ok := b.Element.(*slack.PlainTextInputBlockElement); ok {
			v.Input = in.ActionID
			if in.Placeholder != nil {
				v.Placeholder = in.Placeholder.Text
			}
		}
	case *slack.DividerBlock:
	default:
		v = viewBlock{Kind: "unknown", Text: template.HTML(template.HTMLEscapeString(v.Kind))}
	}
	return v
}

func (s *Server) text(t *slack.TextBlockObject) template.HTML {
	switch {
	case t == nil:
		return ""
	case t.Type == slack.MarkdownType:
		return s.mrkdwn(t.Text)
	default:
		return template.HTML(emoji.Replace(template.HTMLEscapeString(t.Text)))
	}
}

func confirmation(b *slack.ButtonBlockElement) string {
	d := b.Confirm
	if d == nil {
		return ""
	}
	text, err := json.Marshal(map[string]string{
		"title": d.Title.Text, "text": d.Text.Text, "confirm": d.Confirm.Text, "deny": d.Deny.Text, "style": string(d.Style),
	})
	if err != nil {
		return ""
	}
	return string(text)
}

func (s *Server) page(w http.ResponseWriter, r *http.Request) { s.render(w, r, "page.html") }

// stream is the part of the page that changes.
func (s *Server) stream(w http.ResponseWriter, r *http.Request) { s.render(w, r, "stream.html") }

func (s *Server) render(w http.ResponseWriter, r *http.Request, name string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Cache-Control", "no-store")
	_ = templates.ExecuteTemplate(w, name, s.view(r))
}

// events tells the page, by Server-Sent Events, that it must load the stream again.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	changes, stop := s.listen()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flusher := http.NewResponseController(w)
	for {
		// The first event comes at once: something may have changed between the page and this request.
		if _, err := io.WriteString(w, "data: changed\n\n"); err != nil || flusher.Flush() != nil {
			return
		}
		select {
		case <-changes:
		case <-r.Context().Done():
			return
		}
	}
}

// pressFromPage takes JSON only: another site's page cannot send that here without the browser asking first.
func (s *Server) pressFromPage(w http.ResponseWriter, r *http.Request) {
	var press struct {
		TS     string            `json:"ts"`
		Action string            `json:"action"`
		User   string            `json:"user"`
		Inputs map[string]string `json:"inputs"`
	}
	if r.Header.Get("Content-Type") != "application/json" {
		http.Error(w, "send JSON", http.StatusUnsupportedMediaType)
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&press); err != nil {
		http.Error(w, "this is not a press: "+err.Error(), http.StatusBadRequest)
		return
	}
	switch err := s.PressWith(r.Context(), press.TS, press.Action, press.User, press.Inputs); {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, ErrNoButton), errors.Is(err, ErrUnknownPerson):
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		http.Error(w, fmt.Sprintf("%v", err), http.StatusBadGateway)
	}
}
