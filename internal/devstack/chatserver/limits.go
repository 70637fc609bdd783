package chatserver

import (
	"fmt"
	"unicode/utf16"

	"github.com/slack-go/slack"
)

// Slack's limits, from docs.slack.dev/reference/block-kit: characters, or numbers of things.
const (
	maxText        = 40_000
	maxBlocks      = 50
	maxHeader      = 150
	maxTextObject  = 3000
	maxField       = 2000
	maxFields      = 10
	maxContext     = 10
	maxActions     = 25
	maxButtonText  = 75
	maxValue       = 2000
	maxIdentifier  = 255
	maxConfirm     = 300
	maxDialogTitle = 100
	maxDialogLabel = 30
	maxPlaceholder = 150
)

// length counts UTF-16 units: a message that fits by this count fits by every other.
func length(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// checker collects everything that is wrong with a message's blocks.
type checker []string

func (c *checker) fail(format string, args ...any) {
	*c = append(*c, "[ERROR] "+fmt.Sprintf(format, args...))
}

func (c *checker) text(where string, t *slack.TextBlockObject, limit int) {
	switch {
	case t == nil:
		c.fail("%s: text is missing", where)
	case t.Text == "":
		c.fail("%s: text is empty", where)
	case length(t.Text) > limit:
		c.fail("%s: must be at most %d characters, has %d", where, limit, length(t.Text))
	}
}

func (c *checker) count(where string, n, limit int) {
	if n < 1 || n > limit {
		c.fail("%s: must be 1 to %d items, has %d", where, limit, n)
	}
}

func (c *checker) confirm(where string, d *slack.ConfirmationBlockObject) {
	if d == nil {
		return
	}
	c.text(where+"/title", d.Title, maxDialogTitle)
	c.text(where+"/text", d.Text, maxConfirm)
	c.text(where+"/confirm", d.Confirm, maxDialogLabel)
	c.text(where+"/deny", d.Deny, maxDialogLabel)
}

// checkBlocks returns what Slack would complain about.
func checkBlocks(blocks []slack.Block) []string {
	var c checker
	if len(blocks) > maxBlocks {
		c.fail("/blocks: at most %d items, has %d", maxBlocks, len(blocks))
	}
	ids := map[string]bool{}
	for i, block := range blocks {
		where := fmt.Sprintf("/blocks/%d", i)
		if ids[block.ID()] || length(block.ID()) > maxIdentifier {
			c.fail("%s: block_id is not unique or too long", where)
		}
		ids[block.ID()] = true
		c.block(where, block)
	}
	return c
}

func (c *checker) block(where string, block slack.Block) {
	switch b := block.(type) {
	case *slack.HeaderBlock:
		c.text(where+"/text", b.Text, maxHeader)
		if b.Text != nil && b.Text.Type != slack.PlainTextType {
			c.fail("%s: a header must be plain_text", where)
		}
	case *slack.SectionBlock:
		if b.Text != nil || len(b.Fields) == 0 {
			c.text(where+"/text", b.Text, maxTextObject)
		}
		if len(b.Fields) > 0 {
			c.count(where+"/fields", len(b.Fields), maxFields)
		}
		for _, f := range b.Fields {
			c.text(where+"/fields", f, maxField)
		}
	case *slack.ContextBlock:
		c.count(where+"/elements", len(b.ContextElements.Elements), maxContext)
		for _, e := range b.ContextElements.Elements {
			if t, ok := e.(*slack.TextBlockObject); ok {
				c.text(where+"/elements", t, maxTextObject)
			}
		}
	case *slack.ActionBlock:
		c.count(where+"/elements", len(b.Elements.ElementSet), maxActions)
		seen := map[string]bool{}
		for _, e := range b.Elements.ElementSet {
			if button, ok := e.(*slack.ButtonBlockElement); ok {
				c.button(where+"/elements", button, seen)
			}
		}
	case *slack.InputBlock:
		c.text(where+"/label", b.Label, maxField)
		if in, ok := b.Element.(*slack.PlainTextInputBlockElement); ok && in.Placeholder != nil {
			c.text(where+"/placeholder", in.Placeholder, maxPlaceholder)
		}
	case *slack.DividerBlock:
	default:
		c.fail("%s: this server does not know blocks of type %s", where, block.BlockType())
	}
}

func (c *checker) button(where string, b *slack.ButtonBlockElement, seen map[string]bool) {
	if b.ActionID == "" || seen[b.ActionID] || length(b.ActionID) > maxIdentifier {
		c.fail("%s: action_id is missing, not unique or too long", where)
	}
	seen[b.ActionID] = true
	c.text(where+"/text", b.Text, maxButtonText)
	if length(b.Value) > maxValue {
		c.fail("%s/value: must be at most %d characters, has %d", where, maxValue, length(b.Value))
	}
	c.confirm(where+"/confirm", b.Confirm)
}
