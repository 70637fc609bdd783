package slackcard

import (
	"strings"

	"github.com/slack-go/slack"
)

// NoticeKind says what a notice is about.
type NoticeKind string

// The kinds of notices.
const (
	NoticeProgress   NoticeKind = "progress"
	NoticeCompleted  NoticeKind = "completed"
	NoticeRolledBack NoticeKind = "rolledBack"
	NoticeStuck      NoticeKind = "stuck"
	NoticeRefused    NoticeKind = "refused" // a decision was not taken
)

// Notice is a message without buttons, mostly a reply in the thread of a card.
type Notice struct {
	Kind        NoticeKind
	Text        string  // what happened
	Needs       string  // what a person must do now; empty if nothing
	Facts       []Field // shown in two columns
	Migration   string  // workflow id; may be empty
	TemporalURL string  // may be empty
}

// Blocks renders the notice.
func (n Notice) Blocks() []slack.Block {
	title := ""
	if t := n.title(); t != "" {
		title = "*" + t + "*\n"
	}
	blocks := []slack.Block{section(title + escape(n.Text, maxSection-len(title)))}
	blocks = append(blocks, facts("", n.Facts[:min(len(n.Facts), maxEvidence)])...)
	if n.Needs != "" {
		blocks = append(blocks, section("*What it needs*\n>"+strings.ReplaceAll(escape(n.Needs, maxFieldValue), "\n", "\n>")))
	}
	migration := ""
	if n.Migration != "" {
		migration = "migration " + code(n.Migration)
	}
	return append(blocks, footer(migration, temporalLink(n.TemporalURL))...)
}

// Fallback is what notifications and screen readers get.
func (n Notice) Fallback() string {
	var parts []string
	for _, p := range []string{n.title(), n.Text, n.Needs} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return escape(strings.Join(parts, ": "), maxFallback)
}

func (n Notice) title() string {
	switch n.Kind {
	case NoticeCompleted:
		return "✅ Completed"
	case NoticeRolledBack:
		return "↩️ Rolled back"
	case NoticeStuck:
		return "🛑 Stuck"
	case NoticeRefused:
		return "🚫 Your decision was not taken"
	default:
		return ""
	}
}

func (n Notice) metadata() (slack.SlackMetadata, bool) { return slack.SlackMetadata{}, false }
