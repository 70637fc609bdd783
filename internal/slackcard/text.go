package slackcard

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackutilsx"
)

// Slack's own limits, in characters, from docs.slack.dev/reference/block-kit. A message over one of them is refused whole.
const (
	maxHeader       = 150
	maxSection      = 3000
	maxButtonValue  = 2000
	maxConfirmText  = 300
	fieldsInSection = 10
)

// Limits of ours, so that the whole card stays far below Slack's 50 blocks and a person can still take it in.
const (
	maxFieldName  = 150  // with maxFieldValue and the markup below Slack's 2,000 for a field
	maxFieldValue = 1800 // see maxFieldName
	maxEvidence   = 60   // six sections of ten
	maxName       = 300  // a plan, a step, a migration id or a person in running text
	maxReason     = 600  // four reasons fit into one section
	maxFallback   = 1000 // a notification shows a line or two of it
	shortHash     = 12   // as many characters of a hash as people compare by eye
)

// Field is one fact with its name; both are plain text.
type Field struct {
	Name  string
	Value string
}

// clip cuts s to at most limit characters and marks the cut with "…". It counts UTF-16 units, the strictest way Slack may count,
// and never leaves half of an escape such as "&amp;" behind.
func clip(s string, limit int) string {
	units := 0
	cut := -1 // where s ends if it must be cut: one character is kept for the mark
	for i, r := range s {
		if cut < 0 && units+utf16.RuneLen(r) > limit-1 {
			cut = i
		}
		if units += max(utf16.RuneLen(r), 1); units > limit {
			s = s[:cut]
			if i := strings.LastIndexByte(s, '&'); i >= 0 && !strings.Contains(s[i:], ";") {
				s = s[:i]
			}
			return s + "…"
		}
	}
	return s
}

// escape makes plain text safe inside Slack's mrkdwn: no mention, no link and no entity can come out of it.
func escape(s string, limit int) string {
	return clip(slackutilsx.EscapeMessage(s), limit)
}

func code(s string) string {
	return "`" + escape(strings.ReplaceAll(s, "`", "'"), maxName) + "`"
}

// date is shown in each reader's own time zone; the fallback is UTC.
func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} at {time}|%s>", t.Unix(), t.UTC().Format("2006-01-02 15:04 UTC"))
}

var linkEscape = strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C")

func link(url, text string) string {
	return "<" + linkEscape.Replace(url) + "|" + text + ">"
}

func plain(s string, limit int) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, clip(s, limit), true, false)
}

func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, clip(s, maxSection), false, true)
}

func section(s string) slack.Block {
	return slack.NewSectionBlock(mrkdwn(s), nil, nil)
}

// facts lines the fields up in two columns, as many sections as it takes, under an optional title (mrkdwn).
func facts(title string, fields []Field) []slack.Block {
	var blocks []slack.Block
	for len(fields) > 0 {
		n := min(len(fields), fieldsInSection)
		var cells []*slack.TextBlockObject
		for _, f := range fields[:n] {
			cells = append(cells, mrkdwn("*"+escape(f.Name, maxFieldName)+"*\n"+escape(f.Value, maxFieldValue)))
		}
		var text *slack.TextBlockObject
		if title != "" {
			text, title = mrkdwn(title), ""
		}
		blocks = append(blocks, slack.NewSectionBlock(text, cells, nil))
		fields = fields[n:]
	}
	return blocks
}

// footer is the small line at the foot of a card; empty parts are left out.
func footer(parts ...string) []slack.Block {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return []slack.Block{slack.NewContextBlock("", mrkdwn(strings.Join(kept, "  ·  ")))}
}

func temporalLink(url string) string {
	if url == "" {
		return ""
	}
	return link(url, "Open in Temporal")
}
