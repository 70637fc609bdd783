package chatserver

import (
	"fmt"
	"html"
	"html/template"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Slack encodes exactly these three characters in mrkdwn.
var decodeEntities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// renderer turns Slack's mrkdwn into HTML. Whatever it does not understand comes out as escaped text.
type renderer struct {
	out    strings.Builder
	people []Person
}

func (s *Server) mrkdwn(text string) template.HTML {
	r := renderer{people: s.people}
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			r.out.WriteString("<pre>" + escapeHTML(strings.Trim(part, "\n")) + "</pre>")
			continue
		}
		r.lines(part)
	}
	return template.HTML(r.out.String())
}

// escapeHTML is for text between tags, attribute for text inside them.
func escapeHTML(mrkdwn string) string { return emoji.Replace(attribute(mrkdwn)) }

func attribute(mrkdwn string) string { return html.EscapeString(decodeEntities.Replace(mrkdwn)) }

// emoji are drawn by the page itself, as Slack does: not every machine has a font with them.
var emoji = strings.NewReplacer(
	"✅", emojiImage("✅", "check"), "⛔", emojiImage("⛔", "no-entry"), "⌛", emojiImage("⌛", "hourglass"),
	"⚪", emojiImage("⚪", "circle"), "🚦", emojiImage("🚦", "lights"), "↩️", emojiImage("↩️", "back"),
	"🛑", emojiImage("🛑", "octagon"), "🚫", emojiImage("🚫", "prohibited"),
)

func emojiImage(char, file string) string {
	return `<img class="emoji" src="/assets/emoji/` + file + `.svg" alt="` + char + `">`
}

func (r *renderer) lines(text string) {
	quoting, first := false, true
	for line := range strings.SplitSeq(text, "\n") {
		quoted, isQuote := strings.CutPrefix(line, ">")
		if !isQuote {
			quoted, isQuote = strings.CutPrefix(line, "&gt;")
		}
		switch {
		case isQuote && !quoting:
			r.out.WriteString("<blockquote>")
		case !isQuote && quoting:
			r.out.WriteString("</blockquote>")
		case !first:
			r.out.WriteString("<br>")
		}
		quoting, first = isQuote, false
		if isQuote {
			line = quoted
		}
		r.inline(line)
	}
	if quoting {
		r.out.WriteString("</blockquote>")
	}
}

var styles = map[byte]string{'*': "strong", '_': "em", '~': "s"}

// inline renders one line; bold, italic and strike nest, code does not.
func (r *renderer) inline(s string) {
	plain := 0 // start of the text that is not written yet
	flush := func(end int) { r.out.WriteString(escapeHTML(s[plain:end])) }
	for i := 0; i < len(s); {
		var end int // of the markup that starts at i, exclusive
		switch s[i] {
		case '`':
			if n := strings.IndexByte(s[i+1:], '`'); n > 0 {
				end = i + 1 + n + 1
				flush(i)
				r.out.WriteString("<code>" + escapeHTML(s[i+1:end-1]) + "</code>")
			}
		case '<':
			if n := strings.IndexByte(s[i:], '>'); n > 1 {
				end = i + n + 1
				flush(i)
				r.special(s[i+1 : end-1])
			}
		case '*', '_', '~':
			if n := closing(s, i); n > 0 {
				end = n + 1
				flush(i)
				tag := styles[s[i]]
				r.out.WriteString("<" + tag + ">")
				r.inline(s[i+1 : n])
				r.out.WriteString("</" + tag + ">")
			}
		}
		if end == 0 {
			i++
			continue
		}
		i, plain = end, end
	}
	flush(len(s))
}

// closing finds the partner of the mark at i, or 0: marks stand at the edges of words, touch what they enclose, and mean
// nothing inside code, links and mentions.
func closing(s string, i int) int {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	if i > 0 && wordy(before) {
		return 0
	}
	for j := i + 1; j < len(s); j++ {
		if partner, ok := opaque[s[j]]; ok {
			j += max(strings.IndexByte(s[j+1:], partner)+1, 0)
			continue
		}
		if s[j] != s[i] || j == i+1 || s[j-1] == ' ' || s[i+1] == ' ' {
			continue
		}
		if after, size := utf8.DecodeRuneInString(s[j+1:]); size == 0 || !wordy(after) {
			return j
		}
	}
	return 0
}

// opaque are the marks whose inside is not looked at, with their partners.
var opaque = map[byte]byte{'`': '`', '<': '>'}

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// special renders what stands between < and >: a link, a mention or a date.
func (r *renderer) special(s string) {
	target, label, labelled := strings.Cut(s, "|")
	switch {
	case strings.HasPrefix(target, "!date^"):
		r.date(strings.TrimPrefix(target, "!date^"), label)
	case strings.HasPrefix(target, "@"):
		name := target[1:]
		for _, p := range r.people {
			if p.ID == name {
				name = p.Name
			}
		}
		r.out.WriteString(`<span class="mention">@` + escapeHTML(name) + "</span>")
	case strings.HasPrefix(target, "http://"), strings.HasPrefix(target, "https://"):
		if !labelled {
			label = target
		}
		r.out.WriteString(`<a href="` + attribute(target) + `" target="_blank" rel="noopener noreferrer">` + escapeHTML(label) + "</a>")
	default:
		r.out.WriteString(escapeHTML("<" + s + ">"))
	}
}

// date writes a <time> that the page's script puts into the reader's zone; until then it shows the fallback.
func (r *renderer) date(spec, fallback string) {
	unix, format, _ := strings.Cut(spec, "^")
	n, err := strconv.ParseInt(unix, 10, 64)
	if err != nil {
		r.out.WriteString(escapeHTML(fallback))
		return
	}
	_, _ = fmt.Fprintf(&r.out, `<time datetime="%s" data-format="%s">%s</time>`,
		time.Unix(n, 0).UTC().Format(time.RFC3339), html.EscapeString(format), escapeHTML(fallback))
}
