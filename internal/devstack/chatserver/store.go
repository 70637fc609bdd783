package chatserver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// Names of the workspace, as they appear in answers and interactions.
const (
	teamID     = "T0CONTRAFLOW"
	teamDomain = "contraflow"
	appID      = "A0CONTRAFLOW"
	botID      = "B0CONTRAFLOW"
	botUserID  = "U0CONTRAFLOW"
	botName    = "contraflow"
)

type channel struct{ id, name string }

// Message as it stands now.
type Message struct {
	Channel     string // id
	TS          string // unique, rising
	ThreadTS    string // TS of the message it replies to; empty at top level
	Text        string
	Blocks      []slack.Block
	Buttons     []Button
	Metadata    slack.SlackMetadata
	EphemeralTo string // user id; empty if everyone sees it
	Edited      bool
}

// Button of a message.
type Button struct {
	ActionID string
	BlockID  string
	Text     string
	Value    string
	Style    string // "primary", "danger" or empty
}

// channelID finds a channel by id or, with byName, by its name ("migrations" or "#migrations"), which makes it if need be.
// The caller holds the lock.
func (s *Server) channelID(idOrName string, byName bool) (string, bool) {
	name := strings.TrimPrefix(idOrName, "#")
	for _, c := range s.channels {
		if c.id == idOrName || byName && c.name == name {
			return c.id, true
		}
	}
	if !byName || name == "" {
		return "", false
	}
	c := channel{id: fmt.Sprintf("C%07d", len(s.channels)+1), name: name}
	if looksLikeID(idOrName) {
		c = channel{id: idOrName, name: strings.ToLower(strings.TrimPrefix(idOrName, "C0"))} // C0MIGRATIONS is #migrations
	}
	s.channels = append(s.channels, c)
	return c.id, true
}

// looksLikeID tells Slack's channel ids, which are upper case, from names, which never are.
func looksLikeID(s string) bool {
	return len(s) > 1 && s[0] == 'C' && s == strings.ToUpper(s)
}

func (s *Server) channelName(id string) string {
	for _, c := range s.channels {
		if c.id == id {
			return c.name
		}
	}
	return id
}

// add stores a message under the next time stamp; the caller holds the lock.
func (s *Server) add(m Message) Message {
	s.lastTS = maxTime(s.now().Truncate(time.Microsecond), s.lastTS.Add(time.Microsecond))
	m.TS = fmt.Sprintf("%d.%06d", s.lastTS.Unix(), s.lastTS.Nanosecond()/1000)
	s.messages = append(s.messages, &m)
	s.changed()
	return m
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// find returns the message that everyone sees, for changing; the caller holds the lock.
func (s *Server) find(ts string) *Message {
	i := slices.IndexFunc(s.messages, func(m *Message) bool { return m.TS == ts })
	if i < 0 {
		return nil
	}
	return s.messages[i]
}

// decodeBlocks reads the parameter blocks and gives each block an id, as Slack does for those that have none.
func decodeBlocks(text string) ([]slack.Block, error) {
	if text == "" {
		return nil, nil
	}
	var raw []map[string]any
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, err
	}
	for i, block := range raw {
		if id, _ := block["block_id"].(string); id == "" {
			block["block_id"] = fmt.Sprintf("b%d", i)
		}
	}
	named, err := json.Marshal(raw)
	if err != nil {
		return nil, err
	}
	var blocks slack.Blocks
	err = json.Unmarshal(named, &blocks)
	return blocks.BlockSet, err
}

func buttons(blocks []slack.Block) []Button {
	var all []Button
	for _, b := range blocks {
		actions, ok := b.(*slack.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range actions.Elements.ElementSet {
			if button, ok := e.(*slack.ButtonBlockElement); ok {
				all = append(all, Button{
					ActionID: button.ActionID, BlockID: actions.BlockID, Text: button.Text.Text,
					Value: button.Value, Style: string(button.Style),
				})
			}
		}
	}
	return all
}
